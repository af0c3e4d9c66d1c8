-- Counting with limits of single subjects, features, bills and merged subjects, in one round trip as before. These
-- functions keep the same rules as skene/engine/counter.py, grants.py, limits.py and bill.py, which is where they are
-- explained; a test compares them over random histories. What has not changed is called as it is, and the functions
-- of `0003_counting.postgresql.sql` stay for processes of the release before: they see neither overrides nor features,
-- and move windows on without a thought for bills, which the functions here then make up for.
--
-- Rows are locked in this order: those of skene_usage by meter, then those of skene_grants by id.


-- The charges with the limits that hold for a subject: its own, none where it holds the feature, else the plan's.
CREATE FUNCTION {schema}skene_limits_v1(p_charges jsonb, p_overrides jsonb, p_features text[], p_now timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
AS $function$
    SELECT jsonb_agg(
               CASE
                   WHEN own IS NOT NULL AND NOT charge ? 'watched'
                        AND coalesce((own->>'until')::timestamptz > p_now, true) THEN
                       jsonb_set(charge, '{limits}', (
                           SELECT jsonb_object_agg(plan, own->'limit')
                             FROM jsonb_object_keys(charge->'limits') AS plan))
                   WHEN charge->>'feature' = ANY (p_features) THEN
                       jsonb_set(charge, '{limits}', (
                           SELECT jsonb_object_agg(plan, 'null'::jsonb)
                             FROM jsonb_object_keys(charge->'limits') AS plan))
                   ELSE charge
               END
               ORDER BY number)
      FROM jsonb_array_elements(p_charges) WITH ORDINALITY AS charges (charge, number),
           LATERAL (SELECT p_overrides->(charge->>'meter')) AS overrides (own)
$function$;


-- A process of the release before has moved this row's window on: note what it did not, that the window before held
-- billed use, and what was reported of it.
CREATE FUNCTION {schema}skene_make_up_v1(p_row {schema}skene_usage)
RETURNS void
LANGUAGE sql VOLATILE
AS $function$
    INSERT INTO {schema}skene_usage_history AS h
           (subject, meter, plan, window_start, window_end, used, billable, reported, reports)
    VALUES (p_row.subject, p_row.meter, p_row.plan, p_row.reported_since, p_row.window_start, 0, true,
            p_row.reported, p_row.reports)  -- where everything was given back, there is none yet
    ON CONFLICT (subject, meter, plan, window_start)
    DO UPDATE SET billable = true,
                  reported = h.reported + excluded.reported,
                  reports = greatest(h.reports, excluded.reports)
$function$;


-- Write charged counters, and move the windows that are over to the history with what was reported of them. What
-- grants pay is spent.
CREATE FUNCTION {schema}skene_write_v3(
    p_subject text,
    p_charges jsonb,
    p_tallies {schema}skene_tally_v2[],  -- one for each charge
    p_now timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $function$
DECLARE
    v_tally {schema}skene_tally_v2;
    v_row {schema}skene_usage;
    v_reported bigint;    -- in the window that the row had until now
    v_billed boolean;
    v_moved boolean;
BEGIN
    FOR v_index IN 1 .. cardinality(p_tallies) LOOP
        v_tally := p_tallies[v_index];
        v_billed := coalesce(p_charges->(v_index - 1)->'billed' ? v_tally.plan, false);
        v_moved := false;
        v_reported := 0;
        IF v_billed OR v_tally.used = v_tally.cost THEN  -- else the window was running before
            SELECT * INTO v_row
              FROM {schema}skene_usage u
             WHERE u.subject = p_subject AND u.meter = v_tally.meter AND u.plan = v_tally.plan;
            v_moved := v_tally.rule->>'kind' <> 'rolling'
                       AND (v_tally.renewed OR v_row.window_start <> v_tally.window_start);
            IF v_row.reported_since = v_row.window_start THEN
                v_reported := v_row.reported;
            ELSIF (v_billed OR v_moved) AND v_row.reported_since IS NOT NULL THEN
                PERFORM {schema}skene_make_up_v1(v_row);
            END IF;
            IF v_moved AND (v_row.used > 0 OR v_reported > 0) THEN
                INSERT INTO {schema}skene_usage_history AS h
                       (subject, meter, plan, window_start, window_end, used, billable, reported, reports)
                VALUES (v_row.subject, v_row.meter, v_row.plan, v_row.window_start, v_row.window_end, v_row.used,
                        v_row.reported_since IS NOT DISTINCT FROM v_row.window_start, v_reported, v_row.reports)
                ON CONFLICT (subject, meter, plan, window_start)
                DO UPDATE SET used = h.used + excluded.used,
                              window_end = excluded.window_end,
                              billable = h.billable OR excluded.billable,
                              reported = h.reported + excluded.reported,
                              reports = greatest(h.reports, excluded.reports);
            END IF;
        END IF;
        UPDATE {schema}skene_usage u
           SET window_start = v_tally.window_start,
               window_end = v_tally.window_end,
               used = v_tally.used,
               extra = v_tally.extra,
               extra_since = v_tally.window_start,
               part_starts = v_tally.part_starts,
               part_used = v_tally.part_used,
               notices = v_tally.notices,
               billable = v_billed OR (u.billable AND NOT v_moved),
               reported = CASE WHEN v_moved THEN 0 WHEN v_billed THEN v_reported ELSE u.reported END,
               reported_since = CASE WHEN v_billed THEN v_tally.window_start WHEN NOT v_moved THEN u.reported_since END
         WHERE u.subject = p_subject AND u.meter = v_tally.meter AND u.plan = v_tally.plan;
        IF v_tally.drawn > 0 THEN
            PERFORM {schema}skene_draw_v1(p_subject, v_tally.meter, v_tally.drawn, p_now);
        END IF;
    END LOOP;
END
$function$;


-- Charge a call that was just seen to fit: lock its counters, look again, and write, unless somebody was quicker. Then
-- some counter does not fit any more, nothing is charged and no trace is left. NULL if the subject was merged into
-- another one meanwhile, which is where the call belongs.
CREATE FUNCTION {schema}skene_take_v3(
    p_subject text,
    p_plan text,
    p_default_plan text,
    p_charges jsonb,
    p_now timestamptz,
    p_cycle timestamptz[],
    p_tallies {schema}skene_tally_v2[]
) RETURNS {schema}skene_tally_v2[]
LANGUAGE plpgsql VOLATILE
AS $function$
DECLARE
    v_locked int;
    v_merged boolean;
    v_made text[] := '{}';
BEGIN
    IF EXISTS (SELECT FROM unnest(p_tallies) t WHERE NOT t.stored) THEN
        -- Rows that are not there yet cannot be locked: whoever merges or erases the subject waits for them like this.
        PERFORM pg_advisory_xact_lock_shared(hashtextextended(E'skene\x1fsubject\x1f' || p_subject, 0));
    END IF;
    LOOP
        -- Always in the order of the meters, so that two calls never wait for each other.
        WITH made AS (
            INSERT INTO {schema}skene_usage (subject, meter, plan, window_start, window_end, used)
            SELECT p_subject, t.meter, t.plan, t.window_start, t.window_end, 0
              FROM unnest(p_tallies) t
             WHERE NOT t.stored
             ORDER BY t.meter COLLATE "C"
            ON CONFLICT DO NOTHING
            RETURNING skene_usage.meter
        )
        SELECT v_made || array_agg(made.meter) INTO v_made FROM made;
        SELECT count(*) INTO v_locked
          FROM (SELECT FROM {schema}skene_usage u
                  JOIN unnest(p_tallies) t ON u.meter = t.meter AND u.plan = t.plan
                 WHERE u.subject = p_subject
                 ORDER BY u.meter
                   FOR UPDATE OF u) AS locked;
        p_tallies := {schema}skene_look_v2(p_subject, p_plan, p_default_plan, p_charges, p_now, p_cycle);
        IF EXISTS (SELECT FROM unnest(p_tallies) t WHERE t.drawn > 0) THEN
            -- A call on another plan may spend the same grants.
            PERFORM FROM {schema}skene_grants g
              JOIN unnest(p_tallies) t ON g.meter = t.meter AND t.drawn > 0
             WHERE g.subject = p_subject AND g.spent < g.units
             ORDER BY g.id
               FOR UPDATE OF g;
            p_tallies := {schema}skene_look_v2(p_subject, p_plan, p_default_plan, p_charges, p_now, p_cycle);
        END IF;
        EXIT WHEN v_locked = cardinality(p_tallies);  -- else a row was erased in between
    END LOOP;
    v_merged := EXISTS (SELECT FROM {schema}skene_customers c
                         WHERE c.subject = p_subject AND c.merged_into IS NOT NULL);
    IF v_merged OR EXISTS (SELECT FROM unnest(p_tallies) t WHERE NOT t.fits) THEN
        DELETE FROM {schema}skene_usage u
         USING unnest(p_tallies) t
         WHERE u.subject = p_subject AND u.meter = t.meter AND u.plan = t.plan AND t.meter = ANY (v_made);
    ELSE
        FOR v_index IN 1 .. cardinality(p_tallies) LOOP
            p_tallies[v_index] := {schema}skene_charge_v2(p_tallies[v_index], p_now);
        END LOOP;
        PERFORM {schema}skene_write_v3(p_subject, p_charges, p_tallies, p_now);
    END IF;
    RETURN CASE WHEN NOT v_merged THEN p_tallies END;
END
$function$;


-- Decide a call and, if p_spend is true and every counter admits it, charge it. One row for each charge, in their order.
-- A call that is refused has taken no lock and written nothing.
CREATE FUNCTION {schema}skene_decide_v3(
    p_subject text,
    p_default_plan text,
    p_charges jsonb,      -- [{"step", "meter", "cost", "limits": {plan: units or null}, "rule"}, ...], where there is
                          -- one with "feature": text and "billed": [plan, ...]
    p_key text,           -- the Idempotency-Key, or NULL
    p_fingerprint text,
    p_now timestamptz,    -- NULL: the server's clock
    p_spend boolean       -- false: only say what would be
) RETURNS TABLE (
    outcome text,         -- admitted, refused, replayed or conflict
    now timestamptz,
    plan text,
    held_plan text,
    customer text,
    checked_at timestamptz,
    subject text,         -- who was counted: whom p_subject was merged into, or p_subject
    "limit" bigint,       -- what may be used, grants included; NULL: unlimited
    granted bigint,       -- of this, what grants can still pay
    used bigint,
    fits boolean,
    window_start timestamptz,
    window_end timestamptz,
    notices text[],
    wall text,
    charged_plan text,
    charged_at timestamptz
)
LANGUAGE plpgsql VOLATILE
AS $function$
#variable_conflict use_column  -- what is returned has the names of columns; variables begin with v_ or p_
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_plan text;
    v_until timestamptz;
    v_cycle timestamptz[];
    v_charges jsonb := p_charges;
    v_features text[];
    v_overrides jsonb;
    v_merged_into text;
    v_billed boolean;
    v_known text;
    v_repeated boolean;
    v_limit bigint;
    v_cost bigint;
    v_extra bigint;
    v_fits boolean;
    v_again boolean;
    v_tally {schema}skene_tally_v2;
    v_tallies {schema}skene_tally_v2[];
BEGIN
    SELECT c.plan, c.until, c.customer, c.checked_at, c.cycle, c.features, c.overrides, c.merged_into
      INTO v_plan, v_until, customer, checked_at, v_cycle, v_features, v_overrides, v_merged_into
      FROM {schema}skene_customers c
     WHERE c.subject = p_subject;
    subject := p_subject;
    IF v_merged_into IS NOT NULL THEN  -- never to one that was itself merged
        SELECT c.plan, c.until, c.customer, c.checked_at, c.cycle, c.features, c.overrides
          INTO v_plan, v_until, customer, checked_at, v_cycle, v_features, v_overrides
          FROM {schema}skene_customers c
         WHERE c.subject = v_merged_into;
        subject := v_merged_into;
        p_subject := v_merged_into;
    END IF;
    IF v_overrides IS NOT NULL OR v_features IS NOT NULL THEN
        v_charges := {schema}skene_limits_v1(p_charges, v_overrides, v_features, v_now);
    END IF;
    IF v_plan IS NULL OR v_until <= v_now THEN
        v_plan := p_default_plan;
    ELSIF v_plan <> p_default_plan
          AND NOT EXISTS (SELECT FROM jsonb_array_elements(v_charges) AS charge WHERE charge->'limits' ? v_plan) THEN
        held_plan := v_plan;
        v_plan := p_default_plan;
    END IF;
    now := v_now;
    plan := v_plan;

    IF p_key IS NOT NULL THEN
        SELECT k.fingerprint, k.repeated INTO v_known, v_repeated
          FROM {schema}skene_idempotency_keys k
         WHERE k.subject = p_subject AND k.key = p_key;
        IF FOUND AND v_known <> p_fingerprint THEN
            outcome := 'conflict';
        ELSIF FOUND AND (v_repeated OR NOT p_spend) THEN
            outcome := 'replayed';
        ELSIF FOUND THEN
            UPDATE {schema}skene_idempotency_keys k
               SET repeated = true
             WHERE k.subject = p_subject AND k.key = p_key;
            IF FOUND THEN  -- or it failed in this very moment, and the key is free again
                outcome := 'replayed';
            END IF;
        END IF;
    ELSIF p_spend AND jsonb_array_length(v_charges) = 1 AND v_charges->0->'rule'->>'kind' = 'anchored'
          AND v_charges->0->'limits' ? v_plan THEN
        -- By far the most calls: one counter, its window running, room left. An update that finds no such row is a read.
        -- What grants have paid for is left out: it takes no room, and where there is any, the long way finds it.
        v_limit := coalesce((v_charges->0->'limits'->>v_plan)::bigint, 9223372036854775807);
        v_cost := (v_charges->0->>'cost')::bigint;
        v_billed := coalesce(v_charges->0->'billed' ? v_plan, false);
        IF v_cost <= v_limit THEN
            UPDATE {schema}skene_usage u
               SET used = u.used + v_cost, billable = u.billable OR v_billed
             WHERE u.subject = p_subject AND u.meter = v_charges->0->>'meter' AND u.plan = v_plan
               AND u.window_end > v_now AND u.used <= v_limit - v_cost AND u.part_starts = '{}'
               AND (NOT v_billed OR u.reported_since = u.window_start)  -- else it is the first billed use in it
            RETURNING u.used, u.window_start, u.window_end, u.notices,
                      {schema}skene_extra_v1(u.extra, u.extra_since, u.window_start, u.used),
                      (SELECT least(coalesce(sum(g.units - g.spent), 0), 9223372036854775807)
                         FROM {schema}skene_grants g
                        WHERE g.subject = p_subject AND g.meter = v_charges->0->>'meter' AND g.spent < g.units
                          AND (g.expires_at IS NULL OR g.expires_at > v_now))
                 INTO used, window_start, window_end, notices, v_extra, granted;
            IF FOUND THEN
                outcome := 'admitted';
                "limit" := {schema}skene_reported_v1(
                    (v_charges->0->'limits'->>v_plan)::bigint, used, v_extra, granted);
                fits := true;
                charged_plan := v_plan;
                charged_at := window_start;
                RETURN NEXT;
                RETURN;
            END IF;
        END IF;
    END IF;

    v_tallies := {schema}skene_look_v2(p_subject, v_plan, p_default_plan, v_charges, v_now, v_cycle);

    IF outcome IS NULL THEN
        v_fits := NOT EXISTS (SELECT FROM unnest(v_tallies) t WHERE NOT t.fits);
        IF p_key IS NOT NULL THEN
            IF p_spend AND v_fits THEN
                INSERT INTO {schema}skene_idempotency_keys (subject, key, fingerprint, created_at)
                VALUES (p_subject, p_key, p_fingerprint, v_now)
                ON CONFLICT DO NOTHING;
                v_again := NOT FOUND;
            ELSE
                v_again := EXISTS (SELECT FROM {schema}skene_idempotency_keys k
                                    WHERE k.subject = p_subject AND k.key = p_key);
            END IF;
            IF v_again THEN
                -- The same call was admitted in this very moment: now it is a replay, or a conflict.
                RETURN QUERY SELECT * FROM {schema}skene_decide_v3(
                    p_subject, p_default_plan, p_charges, p_key, p_fingerprint, p_now, p_spend);
                RETURN;
            END IF;
        END IF;
        IF p_spend AND v_fits THEN
            v_tallies := {schema}skene_take_v3(
                p_subject, v_plan, p_default_plan, v_charges, v_now, v_cycle, v_tallies);
            v_fits := v_tallies IS NOT NULL AND NOT EXISTS (SELECT FROM unnest(v_tallies) t WHERE NOT t.fits);
            IF NOT v_fits AND p_key IS NOT NULL THEN
                DELETE FROM {schema}skene_idempotency_keys k WHERE k.subject = p_subject AND k.key = p_key;
            END IF;
            IF v_tallies IS NULL THEN
                RETURN QUERY SELECT * FROM {schema}skene_decide_v3(
                    p_subject, p_default_plan, p_charges, p_key, p_fingerprint, p_now, p_spend);
                RETURN;
            END IF;
        END IF;
        outcome := CASE WHEN v_fits THEN 'admitted' ELSE 'refused' END;
    END IF;

    FOREACH v_tally IN ARRAY v_tallies LOOP
        "limit" := {schema}skene_reported_v1(v_tally."limit", v_tally.used, v_tally.extra, v_tally.granted);
        granted := v_tally.granted;
        used := v_tally.used;
        fits := v_tally.fits OR outcome = 'replayed';
        window_start := v_tally.window_start;
        window_end := v_tally.window_end;
        notices := v_tally.notices;
        charged_plan := v_tally.plan;
        charged_at := v_tally.charged_at;
        wall := NULL;
        IF NOT fits THEN
            SELECT w.id INTO wall
              FROM {schema}skene_walls w
             WHERE w.subject = p_subject AND w.step = v_tally.step AND w.plan = v_tally.plan AND w.window_end > v_now
             ORDER BY w.window_end DESC
             LIMIT 1;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$function$;


-- One call by itself.
CREATE FUNCTION {schema}skene_consume_v3(
    p_subject text,
    p_default_plan text,
    p_charges jsonb,
    p_key text,
    p_fingerprint text,
    p_now timestamptz,
    p_spend boolean
) RETURNS TABLE (
    outcome text,         -- admitted, refused, replayed or conflict
    now timestamptz,
    plan text,
    held_plan text,
    customer text,
    checked_at timestamptz,
    subject text,
    "limit" bigint,
    granted bigint,
    used bigint,
    fits boolean,
    window_start timestamptz,
    window_end timestamptz,
    notices text[],
    wall text,
    charged_plan text,
    charged_at timestamptz
)
LANGUAGE sql VOLATILE
SET lock_timeout = '1s'
AS $function$
    SELECT * FROM {schema}skene_decide_v3(
        p_subject, p_default_plan, p_charges, p_key, p_fingerprint, p_now, p_spend)
$function$;


-- Many calls in one transaction, in the order given; `call` is their number, from 1. The caller sorts them by
-- subject and meter, so that two such transactions lock rows in the same order. Whoever holds a lock for long is
-- not waited for: the calls are then made one by one, and only those that meet the lock suffer from it.
CREATE FUNCTION {schema}skene_consume_many_v3(
    p_subjects text[],
    p_default_plans text[],
    p_charges text[],
    p_keys text[],
    p_fingerprints text[],
    p_now timestamptz,
    p_spend boolean
) RETURNS TABLE (
    call int,
    outcome text,         -- admitted, refused, replayed or conflict
    now timestamptz,
    plan text,
    held_plan text,
    customer text,
    checked_at timestamptz,
    subject text,
    "limit" bigint,
    granted bigint,
    used bigint,
    fits boolean,
    window_start timestamptz,
    window_end timestamptz,
    notices text[],
    wall text,
    charged_plan text,
    charged_at timestamptz
)
LANGUAGE plpgsql VOLATILE
SET lock_timeout = '250ms'
AS $function$
#variable_conflict use_column
BEGIN
    FOR v_call IN 1 .. cardinality(p_subjects) LOOP
        RETURN QUERY
        SELECT v_call, decided.*
          FROM {schema}skene_decide_v3(
              p_subjects[v_call], p_default_plans[v_call], p_charges[v_call]::jsonb,
              p_keys[v_call], p_fingerprints[v_call], p_now, p_spend) AS decided;
    END LOOP;
END
$function$;


-- Give units back to the windows, or parts of rolling ones, that they were taken from. Never below zero. What grants
-- paid for in a running window goes back to them first. What was counted for a subject that was merged into another one
-- meanwhile is that one's: see `after_merge` in skene/engine/counter.py.
CREATE FUNCTION {schema}skene_refund_v3(
    p_subject text,
    p_meters text[],
    p_plans text[],
    p_charged_at timestamptz[],
    p_costs bigint[],
    p_key text,           -- the Idempotency-Key that the call had been admitted under, or NULL
    p_now timestamptz     -- NULL: the server's clock
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET lock_timeout = '1s'
AS $function$
DECLARE
    v_merged_into text;
    v_merged_at timestamptz;
    v_receipt record;
    v_subject text;
    v_start timestamptz;
    v_counter {schema}skene_usage;
    v_part int;
    v_left bigint;
    v_extra bigint;
    v_back bigint;
    v_now timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    SELECT c.merged_into, c.updated_at INTO v_merged_into, v_merged_at
      FROM {schema}skene_customers c
     WHERE c.subject = p_subject AND c.merged_into IS NOT NULL;
    v_subject := coalesce(v_merged_into, p_subject);
    IF p_key IS NOT NULL THEN
        DELETE FROM {schema}skene_idempotency_keys k
         WHERE k.subject = v_subject AND k.key = p_key AND NOT k.repeated;
        IF NOT FOUND AND EXISTS (SELECT FROM {schema}skene_idempotency_keys k
                                  WHERE k.subject = v_subject AND k.key = p_key) THEN
            RETURN;  -- a repetition went on for free: the charge is its as well
        END IF;
    END IF;
    IF cardinality(p_meters) > 1 THEN
        PERFORM FROM {schema}skene_usage u
           JOIN unnest(p_meters, p_plans) AS r (meter, plan) ON u.meter = r.meter AND u.plan = r.plan
          WHERE u.subject IN (p_subject, v_subject)
          ORDER BY u.meter, u.subject
            FOR UPDATE OF u;
        PERFORM FROM {schema}skene_grants g
          WHERE g.subject IN (p_subject, v_subject) AND g.meter = ANY (p_meters) AND g.spent > 0
          ORDER BY g.id
            FOR UPDATE;
    END IF;
    FOR v_receipt IN
        SELECT * FROM unnest(p_meters, p_plans, p_charged_at, p_costs) AS r (meter, plan, charged_at, cost)
         ORDER BY r.meter COLLATE "C"
    LOOP
        v_subject := p_subject;
        v_start := v_receipt.charged_at;
        IF v_merged_into IS NOT NULL AND NOT EXISTS (
               SELECT FROM {schema}skene_usage u
                WHERE u.subject = p_subject AND u.meter = v_receipt.meter AND u.plan = v_receipt.plan
                  AND (u.window_start = v_start OR v_start = ANY (u.part_starts))) THEN
            v_subject := v_merged_into;
            SELECT u.window_start INTO v_start
              FROM {schema}skene_usage u
             WHERE u.subject = v_subject AND u.meter = v_receipt.meter AND u.plan = v_receipt.plan
               AND u.part_starts = '{}' AND u.window_start <= v_merged_at AND v_receipt.charged_at <= v_merged_at
               AND v_merged_at - v_receipt.charged_at < u.window_end - u.window_start;
            v_start := coalesce(v_start, v_receipt.charged_at);
        END IF;
        UPDATE {schema}skene_usage u
           SET used = greatest(0, u.used - v_receipt.cost),
               billable = u.billable OR (u.reported > 0 AND u.reported_since IS NOT DISTINCT FROM u.window_start)
         WHERE u.subject = v_subject AND u.meter = v_receipt.meter AND u.plan = v_receipt.plan
           AND u.window_start = v_start AND u.part_starts = '{}' AND u.extra = 0;
        CONTINUE WHEN FOUND;
        SELECT * INTO v_counter
          FROM {schema}skene_usage u
         WHERE u.subject = v_subject AND u.meter = v_receipt.meter AND u.plan = v_receipt.plan
           FOR UPDATE;
        v_part := array_position(v_counter.part_starts, v_start);
        IF v_part IS NOT NULL OR (v_counter.part_starts = '{}' AND v_counter.window_start = v_start) THEN
            v_left := greatest(0, v_counter.used - v_receipt.cost);
            IF v_part IS NOT NULL THEN
                v_counter.part_used[v_part] := greatest(0, v_counter.part_used[v_part] - v_receipt.cost);
                SELECT least(sum(units), 9223372036854775807) INTO v_left FROM unnest(v_counter.part_used) AS units;
            END IF;
            v_extra := {schema}skene_extra_v1(
                v_counter.extra, v_counter.extra_since, v_counter.window_start, v_counter.used);
            v_back := least(v_extra, v_counter.used - v_left);
            UPDATE {schema}skene_usage u
               SET part_used = v_counter.part_used,
                   used = v_left,
                   extra = v_extra - v_back,
                   extra_since = u.window_start,
                   billable = u.billable OR (u.reported > 0 AND u.reported_since IS NOT DISTINCT FROM u.window_start)
             WHERE u.subject = v_subject AND u.meter = v_receipt.meter AND u.plan = v_receipt.plan;
            -- A window, or part, that is over gives nothing back to grants.
            IF v_back > 0 AND v_now - v_start < v_counter.window_end - v_counter.window_start THEN
                PERFORM {schema}skene_put_back_v1(v_subject, v_receipt.meter, v_back);
            END IF;
        ELSE
            UPDATE {schema}skene_usage_history h
               SET used = greatest(0, h.used - v_receipt.cost),
                   billable = h.billable OR h.reported > 0
             WHERE h.subject = v_subject AND h.meter = v_receipt.meter AND h.plan = v_receipt.plan
               AND h.window_start = v_start;
            IF NOT FOUND AND v_merged_into IS NULL AND EXISTS (
                   SELECT FROM {schema}skene_customers c
                    WHERE c.subject = p_subject AND c.merged_into IS NOT NULL) THEN
                -- The subject was merged in this very moment: what is to be given back lies elsewhere now.
                PERFORM {schema}skene_refund_v3(
                    p_subject, ARRAY[v_receipt.meter], ARRAY[v_receipt.plan], ARRAY[v_receipt.charged_at],
                    ARRAY[v_receipt.cost], p_key, p_now);
            END IF;
        END IF;
    END LOOP;
END
$function$;
