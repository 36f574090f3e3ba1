import pytest

from mercer.gallery.subscribers import AddressError, Subscribers, check_address


@pytest.fixture
def subscribers(store):
    return Subscribers(store)


def test_an_address_is_sent_nothing_before_it_has_confirmed_and_nothing_after_it_left(subscribers, store):
    asked = subscribers.ask(" ada@example.org ")
    assert not asked.is_confirmed
    assert subscribers.confirmed() == []
    assert subscribers.confirm("another token") is None
    assert subscribers.confirm(asked.token).is_confirmed
    assert [s.address for s in subscribers.confirmed()] == ["ada@example.org"]
    told_until = subscribers.find(asked.token).told_until
    subscribers.confirm(asked.token)  # a second time changes nothing
    assert subscribers.find(asked.token).told_until == told_until
    assert subscribers.remove(asked.token)
    assert not subscribers.remove(asked.token)
    assert subscribers.confirmed() == []
    assert b"ada@example.org" not in store.path.read_bytes()


def test_a_stranger_cannot_fill_an_inbox(subscribers):
    sent = [subscribers.ask("Ada@example.org" if i % 2 else "ada@EXAMPLE.org") for i in range(5)]
    assert [s is not None for s in sent] == [True] * 3 + [False] * 2
    assert len({s.token for s in sent if s}) == 1
    subscribers.confirm(sent[0].token)
    assert subscribers.ask("ada@example.org") is None


def test_what_is_not_confirmed_in_a_week_is_deleted(subscribers, store):
    asked = subscribers.ask("ada@example.org")
    store.change("UPDATE subscribers SET asked = '2026-01-01T00:00:00.000000+00:00'")
    subscribers.ask("bob@example.org")
    assert subscribers.find(asked.token) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "a b@example.org",
        "ada@example.org\nBcc: eve@example.org",
        "ada@exa_mple.org",
        "ada@example.org, eve@example.org",
        "<ada@example.org>",
        f"{'a' * 65}@example.org",
        f"a@{'b.' * 130}org",
        "ädä@example.org",
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text):
    with pytest.raises(AddressError, match=r"is not an e-mail address: it looks like name@example.org") as error:
        check_address(text)
    assert len(str(error.value).splitlines()) == 1
