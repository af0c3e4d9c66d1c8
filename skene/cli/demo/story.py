"""The customer's story, step by step. Every figure shown is read back from what is running."""

import html
import re
import statistics
import time
from datetime import datetime
from typing import Any

import anyio
import httpx

from skene.cli.demo.browser import read_form
from skene.cli.demo.screen import Screen
from skene.cli.demo.stage import Stage
from skene.cli.reports import funnel_table
from skene.ports.outbox import MessageState
from skene.testing.resend_server import FakeEmail

__all__ = ["Story"]

CALLS = 100
"""What the free plan of the README includes; the running app must come to the same."""
FURTHER = 4
FEATURE = "/api/features/summarise"
TEXT = "One call. Of many."
PATIENCE = 10.0
_LINK = re.compile(r"https?://\S+/upgrade\?token=\S+")


class Story:
    """Drives the app as one customer.

    Args:
        stage: what is running.
        screen: where it is shown.
        client: the customer's program and browser.
    """

    def __init__(self, stage: Stage, screen: Screen, client: httpx.AsyncClient) -> None:
        self._stage = stage
        self._screen = screen
        self._client = client
        self._who = {"Authorization": f"Bearer {stage.customer.key}"}

    async def tell(self) -> None:
        """The whole story.

        Raises:
            DemoFailed: the first step that did not go as expected.
        """
        begun = await self._start()
        await self._use_up()
        await self._be_refused()
        mail = await self._get_mail()
        checkout = await self._follow(mail)
        back = await self._pay(checkout)
        await self._come_back(back)
        await self._see_funnel(begun)

    async def _start(self) -> datetime:
        """The database's own time, from which the funnel is read in the end."""
        screen, customer = self._screen, self._stage.customer
        with screen.step("the app answers"):
            usage = await self._usage()
            screen.expect("calls used by a new customer", usage["used"], 0)
            stands = f"plan {usage['plan']}, {usage['used']} of {usage['limit']} calls used"
            screen.done(f"{customer.subject} is new: {stands}")
            (seen,) = await self._stage.skene.usage(customer.subject)
            if seen.decided_at is None:
                raise LookupError("the storage does not say what time it is")
            return seen.decided_at

    async def _use_up(self) -> None:
        screen = self._screen
        with screen.step(f"{CALLS} calls pass"):
            seconds: list[float] = []
            last = ""
            with screen.progress(f"POST {FEATURE}", CALLS) as advance:
                for number in range(1, CALLS + 1):
                    before = time.perf_counter()
                    answer = await self._call()
                    seconds.append(time.perf_counter() - before)
                    screen.expect(f"status of call {number}", answer.status_code, 200)
                    last = answer.headers.get("ratelimit", "")
                    advance()
            usage = await self._usage()
            screen.expect("calls counted", usage["used"], CALLS)
            screen.expect("calls left", usage["remaining"], 0)
            middle = statistics.median(seconds) * 1000
            screen.done(
                f"{len(seconds)} calls passed, {usage['used']} counted; half of them within {middle:.1f} ms"
            )
            screen.note(f"  the last answer's header  RateLimit: {last}")

    async def _be_refused(self) -> None:
        screen, stage = self._screen, self._stage
        with screen.step(f"call {CALLS + 1} is refused"):
            answer = await self._call()
            screen.expect("status", answer.status_code, 402)
            body = answer.json()
            screen.expect("code", body["code"], "usage_limit_reached")
            screen.expect("limit and use", (body["limit"], body["used"]), (CALLS, CALLS))
            screen.expect(
                "the upgrade link leads to the app", body["upgrade_url"].startswith(stage.url), True
            )
            screen.done(f"call {body['used'] + 1} was answered {answer.status_code} {answer.reason_phrase}:")
            screen.quote_json(body)
            more = [(await self._call()).status_code for _ in range(FURTHER)]
            screen.expect("status of further calls", more, [402] * FURTHER)
            screen.done(f"{len(more)} further calls were refused as well")

    async def _get_mail(self) -> FakeEmail:
        screen, stage = self._screen, self._stage
        with screen.step("one e-mail arrives"):
            await self._until_sent()
            mails = stage.resend.sent_to(stage.customer.email)
            screen.expect("e-mails at Resend", len(mails), 1)
            mail = mails[0]
            file = stage.folder / "upgrade_prompt.html"
            file.write_text(mail.html or "", encoding="utf-8")
            screen.done(f"{len(mails)} e-mail arrived at Resend, {mail.sender} → {', '.join(mail.to)}:")
            screen.quote(f"Subject: {mail.subject}\n\n{mail.text or ''}")
            screen.line(f"  as HTML: {file}")
            return mail

    async def _follow(self, mail: FakeEmail) -> httpx.Response:
        screen, stage = self._screen, self._stage
        with screen.step("its link leads to Checkout"):
            found = _LINK.findall(mail.text or "")
            screen.expect("links in the e-mail", len(found), 1)
            screen.expect("the HTML part has it too", found[0] in html.unescape(mail.html or ""), True)
            answer = await self._client.get(found[0])
            screen.expect("status", answer.status_code, 303)
            target = answer.headers["location"]
            screen.expect("it leads to Stripe", target.startswith(stage.stripe_url), True)
            page = await self._client.get(target)
            screen.expect("status of Checkout", page.status_code, 200)
            screen.done(f"its link was followed: {answer.status_code} to Checkout")
            screen.line(f"  {target}")
            return page

    async def _pay(self, checkout: httpx.Response) -> str:
        screen, stripe = self._screen, self._stage.stripe
        with screen.step("the payment's webhooks arrive"):
            before = len(stripe.events)
            answer = await read_form(checkout).send(self._client)
            screen.expect("status of the form", answer.status_code, 303)
            sent = [event["type"] for event in stripe.events[before:]]
            screen.expect("a checkout was completed", "checkout.session.completed" in sent, True)
            screen.expect("webhooks that the app did not accept", len(stripe.undelivered), 0)
            usage = await self._usage()
            screen.expect("the plan afterwards", usage["plan"], "paid")
            screen.done(f"paid; {len(sent)} signed webhooks were accepted, and the plan is {usage['plan']}:")
            screen.note(f"  {', '.join(sent)}")
            return str(answer.headers["location"])

    async def _come_back(self, url: str) -> None:
        screen, stage = self._screen, self._stage
        with screen.step("the next call passes"):
            screen.expect("Checkout leads back to the app", url.startswith(stage.url), True)
            page = await self._client.get(url)
            screen.expect("status of the page after payment", page.status_code, 200)
            answer = await self._call()
            screen.expect("status of the next call", answer.status_code, 200)
            usage = await self._usage()
            screen.expect("the limit", usage["limit"], None)
            screen.done(
                f"the next call was answered {answer.status_code}; {usage['used']} used on {usage['plan']}"
            )

    async def _see_funnel(self, begun: datetime) -> None:
        screen = self._screen
        with screen.step("the funnel shows it"):
            rows = await self._stage.skene.funnel(since=begun, loop="freemium")
            screen.expect("loops in the funnel", [row.loop for row in rows], ["freemium"])
            row = rows[0]
            stages = (row.walls, row.prompts, row.clicks, row.checkouts, row.conversions)
            screen.expect("walls, prompts, clicks, checkouts, conversions", stages, (1, 1, 1, 1, 1))
            screen.done("the funnel, from the database:")
            screen.show(funnel_table(rows))

    async def _call(self) -> httpx.Response:
        return await self._client.post(f"{self._stage.url}{FEATURE}", headers=self._who, json={"text": TEXT})

    async def _usage(self) -> dict[str, Any]:
        answer = await self._client.get(f"{self._stage.url}/skene/usage", headers=self._who)
        answer.raise_for_status()
        (one,) = answer.json()["usage"]
        return dict(one)

    async def _until_sent(self) -> None:
        """Wait until the database says that nothing of the customer's is still to be sent."""
        storage, subject = self._stage.skene.storage, self._stage.customer.subject
        seen: list[tuple[MessageState, str | None]] = []
        with anyio.move_on_after(PATIENCE):
            while True:
                seen = [(state, reason) for _, state, reason in await storage.messages(subject)]
                if seen and not {state for state, _ in seen} & {MessageState.PENDING, MessageState.CLAIMED}:
                    break
                await anyio.sleep(0.05)
        states = [f"{state} ({reason})" if reason else str(state) for state, reason in seen]
        self._screen.expect("messages in the outbox", states, [str(MessageState.SENT)])
