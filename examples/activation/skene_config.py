from people import load_profile

from skene import Recovery, Skene, action, condition, define_loop, step, trigger, wait

# Whoever creates a project within five minutes of signing up is welcomed. The goal: a second one.
activation = define_loop(
    type="activation",
    opinion="Detect when users complete their first key action and trigger personalized onboarding",
    steps=[
        step(
            trigger=trigger.database("users", event="insert"),
            condition=condition.query(
                "SELECT * FROM user_actions WHERE user_id = $1 AND action_type = 'first_project_created'",
                timeout="5m",
            ),
            action=action.email(
                "activation_welcome",
                provider="resend",
                personalization={
                    "name": "{{user.name}}",
                    "activationLink": "{{user.activation_link}}",
                },
            ),
        ),
    ],
    recovery=Recovery(retries=3, backoff="exponential"),
    goal=trigger.event("second_project"),
)

# Three mails, two days apart, for those who do not; they stop as soon as somebody creates a project.
onboarding = define_loop(
    type="activation",
    name="onboarding",
    steps=[
        step(
            trigger=trigger.database("users", event="insert"),
            action=action.email("first_steps", provider="resend"),
            then=wait("2d"),
        ),
        step(action=action.email("examples", provider="resend"), then=wait("2d")),
        step(action=action.email("need_help", provider="resend")),
    ],
    goal=condition.query("SELECT id FROM projects WHERE owner_id = $1"),
)

skene = Skene.from_env(activation, onboarding, profile=load_profile)
