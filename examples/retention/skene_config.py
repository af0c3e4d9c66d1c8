import store
from people import load_profile

from skene import MailPolicy, Occasion, Recovery, Skene, action, condition, define_loop, step, trigger


async def mark_sent(occasion: Occasion) -> None:
    await store.mark_sent(int(occasion.subject))


# Every morning at nine: whoever has not been here for a week.
# The dates are SQLite's; skene_config_json.py has PostgreSQL's.
retention = define_loop(
    type="retention",
    opinion="Detect dormant users and trigger personalized re-engagement campaigns",
    steps=[
        step(
            trigger=trigger.schedule("0 9 * * *"),
            condition=condition.query(
                "SELECT * FROM users WHERE last_activity_at < datetime('now', '-7 days') "
                "AND re_engagement_sent = false",
                timeout="10m",
            ),
            action=action.email(
                "re_engagement",
                provider="resend",
                personalization={"name": "{{user.name}}", "lastActivity": "{{user.last_activity_at}}"},
            ),
        ),
    ],
    recovery=Recovery(retries=3, backoff="exponential"),
)

# On the first of the month: who has been away for longer. Once in a quarter, and twice in all.
# The second action tells our own table.
winback = define_loop(
    type="retention",
    name="winback",
    steps=[
        step(
            trigger=trigger.schedule("0 9 1 * *", timezone="Europe/Helsinki"),
            condition=condition.query(
                "SELECT id, email, name FROM users WHERE last_activity_at < datetime('now', '-60 days')"
            ),
            action=[
                action.email("re_engagement", subject="We have built a few things since you left"),
                action.function(mark_sent, repeatable=True),
            ],
            cooldown="90d",
            max_fires=2,
        ),
    ],
    goal=trigger.event("came_back"),
)

# Nobody gets more than two such mails a week, or any at night.
policy = MailPolicy(cap=(2, "7d"), quiet=("21:00", "08:00"), timezone="Europe/Helsinki")
skene = Skene.from_env(retention, winback, profile=load_profile, mail=policy)
