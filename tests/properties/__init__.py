"""What must hold whatever happens: properties, a reference model, and fuzzed input.

- `model.py` is the quota in its plainest form: a list of uses for each window, added up whenever somebody
  asks. It shares nothing with skene but names. `machine.py` lets hypothesis play both side by side: calls of
  any size, repeated keys, holds that are settled or given back, time that goes on and steps back over the
  edges of windows, plans bought, changed and ended at Stripe with webhooks in any order and number, grants,
  limits of one's own, people that become one, people that are forgotten. After every step both must have
  decided alike.
- `test_quota.py` plays it on every store. `mutants.py` breaks skene in one place each; `test_mutants.py`
  shows that the same machine notices every one of them, and nothing when nothing is broken.
- `test_window_laws.py` has the laws that all windows keep; `test_any_definition.py`, `test_any_webhook.py`
  and `test_any_request.py` send anything at all to the definitions, to the webhook, and to every mounted
  route.

The usual run takes the same few examples every time. `SKENE_TEST_SEED=7` takes others, `SKENE_TEST_FULL=1`
many more.
"""
