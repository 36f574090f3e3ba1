"""The ground's checks of arguments, where estimators import them."""

from mercer.arguments import check_not_negative, check_whole

__all__ = ["check_not_negative", "check_whole"]
