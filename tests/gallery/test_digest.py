import re
import smtplib

import pytest

from mercer.gallery.digest import Digest, send_confirmation, send_digests
from mercer.gallery.mail import MailError, MailSettings, compose, connection, mail_settings
from mercer.gallery.subscribers import Subscribers

URL = "https://kernels.example.org"


@pytest.fixture
def subscribers(store):
    return Subscribers(store)


@pytest.fixture
def ada(subscribers):
    return subscribers.confirm(subscribers.ask("ada@example.org").token)


@pytest.fixture
def digest(shelf, history):
    return Digest(shelf, history, url=URL)


@pytest.fixture
def change_a_verdict(shelf, history, put_results):
    def change():
        put_results(shelf, "loaded", date="2026-01-01T00:00:00+00:00")
        history.note(shelf)
        put_results(shelf, "loaded", values=0.95)
        history.note(shelf)

    return change


@pytest.mark.usefixtures("ada")
def test_what_is_new_is_sent_once(digest, subscribers, mailbox, change_a_verdict):
    sent = send_digests(digest, subscribers, mailbox.settings)
    assert (sent.told, sent.idle, sent.refused) == (0, 1, ())
    change_a_verdict()
    sent = send_digests(digest, subscribers, mailbox.settings)
    assert (sent.told, sent.idle) == (1, 0)
    sent = send_digests(digest, subscribers, mailbox.settings)
    assert (sent.told, sent.idle) == (0, 1)
    ((to, message),) = mailbox.messages
    assert to == ["ada@example.org"]
    assert message["Subject"] == "Kernel papers, measured again: 1 new paper and 1 changed verdict"
    assert message["From"] == "gallery@example.org"
    text = message.get_body(("plain",)).get_content()
    html = message.get_body(("html",)).get_content()
    assert "On dice & chance" in text
    assert "✓ loaded: holds, was does not hold. A die is loaded. Now share: 0.95." in text
    assert "On dice &amp; chance" in html
    link = re.search(rf"{URL}/unsubscribe/(\S+)", text)
    assert subscribers.find(link[1]).address == "ada@example.org"
    assert message["List-Unsubscribe"].strip() == f"<{link[0]}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert f'href="{URL}/papers/91-dice"' in html


@pytest.mark.usefixtures("ada")
def test_since_a_day_all_are_told_again(digest, subscribers, mailbox, change_a_verdict):
    change_a_verdict()
    for _ in range(2):
        assert send_digests(digest, subscribers, mailbox.settings, since="2020-01-01").told == 1
    assert send_digests(digest, subscribers, mailbox.settings, since="2099-01-01").told == 0


@pytest.mark.usefixtures("ada")
def test_one_refused_address_keeps_no_other_from_its_mail(digest, subscribers, mailbox, change_a_verdict):
    for address in ("refused@example.org", "bob@example.org"):
        subscribers.confirm(subscribers.ask(address).token)
    change_a_verdict()
    sent = send_digests(digest, subscribers, mailbox.settings)
    assert sent.told == 2
    assert sent.refused == ("refused@example.org: 550 no such person here",)
    assert [to for to, _ in mailbox.messages] == [["ada@example.org"], ["bob@example.org"]]
    assert send_digests(digest, subscribers, mailbox.settings).refused != ()  # it is tried again


def test_nobody_gets_mail_before_the_address_was_confirmed(digest, subscribers, mailbox, change_a_verdict):
    asked = subscribers.ask("ada@example.org")
    change_a_verdict()
    assert send_digests(digest, subscribers, mailbox.settings, since="2020-01-01").told == 0
    send_confirmation(mailbox.settings, asked, url=URL)
    ((to, message),) = mailbox.messages
    assert to == ["ada@example.org"]
    assert f"{URL}/confirm/{asked.token}" in message.get_body(("plain",)).get_content()
    assert message["List-Unsubscribe"] is None


@pytest.mark.usefixtures("ada")
def test_a_server_that_is_not_there_is_one_line_and_nobody_counts_as_told(
    digest, subscribers, mailbox, change_a_verdict
):
    change_a_verdict()
    closed = MailSettings("127.0.0.1", 9, "", "", "gallery@example.org")
    with pytest.raises(MailError, match=r"127.0.0.1:9 does not take the mail: .*refused") as error:
        send_digests(digest, subscribers, closed)
    assert len(str(error.value).splitlines()) == 1
    assert send_digests(digest, subscribers, mailbox.settings).told == 1


def test_a_password_is_not_sent_in_the_open(mailbox):
    settings = MailSettings("127.0.0.1", mailbox.port, "user", "secret", "gallery@example.org")
    with pytest.raises(MailError, match="offers no TLS, and a password is not sent without it"), connection(settings):
        pass
    assert "secret" not in repr(settings)


def test_an_address_of_a_stranger_is_refused_by_the_server_in_one_line(subscribers, mailbox):
    with pytest.raises(MailError, match="The mail server does not take mail for this address"):
        send_confirmation(mailbox.settings, subscribers.ask("refused@example.org"), url=URL)


def test_the_settings_are_those_of_the_environment():
    assert mail_settings({}) is None
    given = {"MERCER_SMTP_HOST": "mail.example.org", "MERCER_SMTP_USER": "me@example.org", "MERCER_SMTP_PASSWORD": "p"}
    settings = mail_settings(given)
    assert (settings.port, settings.sender, settings.user) == (587, "me@example.org", "me@example.org")
    assert mail_settings(given | {"MERCER_SMTP_PORT": "2525", "MERCER_SMTP_FROM": "a@b.org"}).sender == "a@b.org"
    with pytest.raises(MailError, match="MERCER_SMTP_PORT is 'x', and a port is a number from 1 to 65535"):
        mail_settings(given | {"MERCER_SMTP_PORT": "x"})
    with pytest.raises(MailError, match="MERCER_SMTP_FROM has to be the address that mail comes from"):
        mail_settings({"MERCER_SMTP_HOST": "mail.example.org"})


def test_a_subject_is_one_line(mailbox):
    message = compose(mailbox.settings, to="a@b.org", subject="one\r\nBcc: eve@example.org", text="t", html="h")
    assert message["Subject"] == "one Bcc: eve@example.org"
    assert message["Bcc"] is None
    with connection(mailbox.settings) as session:
        assert isinstance(session, smtplib.SMTP)
