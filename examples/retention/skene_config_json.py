"""On PostgreSQL: the loop from the JSON of the TypeScript configuration, unchanged."""

from pathlib import Path

from people import load_profile

from skene import MailPolicy, Skene, load_loop

retention = load_loop(Path(__file__).with_name("seed.json"))
policy = MailPolicy(cap=(2, "7d"), quiet=("21:00", "08:00"), timezone="Europe/Helsinki")
skene = Skene.from_env(retention, profile=load_profile, mail=policy)
