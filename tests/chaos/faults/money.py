"""Faults between skene and billing: webhooks, outages, lives of subscriptions."""

from tests.chaos.faults.fault import fault

__all__ = ["MONEY"]

MONEY = (
    fault(
        "stripe-away",
        "Stripe is slow or away",
        "the last known plan stands; who has paid is not refused, and no request waits for it",
        "runtime/test_lookup::test_while_stripe_is_away_the_last_known_plan_stands",
        "runtime/test_lookup::test_a_payer_without_a_limit_does_not_notice_that_stripe_is_down",
        "runtime/test_lookup::test_while_stripe_hangs_only_a_few_find_out_and_nobody_who_paid_is_refused",
    ),
    fault(
        "stripe-fails-a-fetch",
        "Stripe answers 429 or 500 when a webhook is applied",
        "the webhook is answered with 5xx and not recorded, so it comes again",
        "runtime/test_webhooks::test_what_could_not_be_applied_is_not_recorded_and_comes_again",
        "conformance/plans::test_a_failed_fetch_does_not_record_its_event",
    ),
    fault(
        "webhooks-lost",
        "Webhooks are lost for days",
        "who has paid is admitted within a minute; a sync finds the rest",
        "runtime/test_lookup::test_who_pays_while_every_webhook_is_lost_is_admitted_within_a_minute",
        "runtime/test_lookup::test_at_most_one_look_up_a_minute_from_two_processes",
        "acceptance/test_sync::test_all_customers_are_put_right",
    ),
    fault(
        "webhook-twice",
        "A webhook comes twice",
        "it is applied once",
        "conformance/plans::test_an_event_is_applied_once",
    ),
    fault(
        "webhooks-reordered",
        "Webhooks come in any order",
        "the plan is what Stripe says in the end",
        "acceptance/test_stripe_orders::test_every_order_with_every_duplicate_ends_in_what_stripe_says",
    ),
    fault(
        "webhooks-at-once",
        "Webhooks of one customer come at once",
        "the fetch begun last stands",
        "runtime/test_webhook_orders::test_two_receivers_at_once_end_in_what_stripe_says",
        "conformance/plans::test_the_fetch_begun_last_stands",
    ),
    fault(
        "webhooks-same-second",
        "Webhooks carry the same second",
        "the plan does not depend on when they say they were made",
        "acceptance/test_stripe_orders::test_every_order_with_every_duplicate_ends_in_what_stripe_says",
    ),
    fault(
        "webhook-of-another",
        "A webhook is about an unknown customer, another account, another kind, or test mode",
        "it is recorded and changes no plan; the other mode is refused",
        "runtime/test_webhooks::test_an_event_for_a_customer_nobody_is_tied_to_is_recorded_and_changes_no_plan",
        "adapters/test_stripe_webhooks::test_an_event_of_the_other_mode_is_refused",
        "adapters/test_stripe_webhooks::test_an_event_of_an_account_connected_to_ours_concerns_nobody",
    ),
    fault(
        "webhook-forged",
        "A stranger sends webhooks",
        "they are refused and change nothing",
        "acceptance/test_hostile_webhooks::test_what_strangers_send_is_refused_and_changes_nothing",
    ),
    fault(
        "subscription-changes",
        "A subscription is cancelled, late, paused, refunded, disputed, or its customer deleted",
        "each status has its plan; a downgrade forgives nothing that was used",
        "runtime/test_lives::test_the_plan_after_every_step",
        "runtime/test_webhooks::test_a_deleted_customer_holds_nothing",
        "conformance/counting::test_a_downgrade_does_not_forgive",
    ),
    fault(
        "checkout-before-webhook",
        "Somebody comes back from paying before any webhook",
        "they have the plan already",
        "fastapi/test_checkout::test_who_has_paid_is_told_so_and_has_the_plan",
        "runtime/test_webhooks::test_who_comes_back_from_paying_has_the_plan_before_any_webhook",
    ),
    fault(
        "upgrade-in-between",
        "Somebody pays in the middle of a window",
        "the new limit holds at once, and there is one conversion",
        "runtime/test_webhooks::test_upgrading_in_mid_period_is_unlimited_at_once_and_one_conversion",
        "conformance/concurrency::test_ten_webhooks_at_once_are_one_conversion",
    ),
)
