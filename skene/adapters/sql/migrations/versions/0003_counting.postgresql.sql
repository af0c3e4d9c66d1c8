-- Counting with grants, in one round trip as before. These functions keep the same rules as skene/engine/counter.py and
-- skene/engine/grants.py, which is where they are explained; a test compares them over random histories. Those of
-- `0001_counting.postgresql.sql` stay as they are, for processes of the release before: they see no grants, take what
-- grants have paid for as used, and so admit less, never more.
--
-- Rows are locked in this order: those of skene_usage by meter, then those of skene_grants by id.


CREATE TYPE {schema}skene_tally_v2 AS (
    step text,
    meter text,
    plan text,
    rule jsonb,
    cost bigint,
    "limit" bigint,       -- of the plan; NULL: unlimited
    used bigint,
    extra bigint,         -- of these, what grants have paid
    granted bigint,       -- what grants can still pay
    drawn bigint,         -- what of the cost they have to pay
    fits boolean,
    window_start timestamptz,
    window_end timestamptz,
    part_starts timestamptz[],
    part_used bigint[],
    notices text[],
    stored boolean,       -- there is a row
    renewed boolean,      -- the row's window is over, this is the next one
    charged_at timestamptz
);


-- What of a row's used units grants have paid. A process of the release before opens windows without naming them.
CREATE FUNCTION {schema}skene_extra_v1(p_extra bigint, p_since timestamptz, p_start timestamptz, p_used bigint)
RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $function$
    SELECT CASE WHEN p_since = p_start THEN least(p_extra, p_used) ELSE 0 END
$function$;


-- The limit as people are told it: the plan's, what grants have paid in this window, and what they still hold.
CREATE FUNCTION {schema}skene_reported_v1(p_limit bigint, p_used bigint, p_extra bigint, p_granted bigint)
RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $function$
    SELECT CASE
        WHEN p_limit IS NULL OR (p_extra = 0 AND p_granted = 0) THEN p_limit
        ELSE least(9223372036854775807, p_extra::numeric + p_granted
                   + CASE WHEN p_granted > 0 THEN greatest(p_limit, p_used - p_extra) ELSE p_limit END)::bigint
    END
$function$;


-- Spend granted units: those that expire first before the others, and of equals the oldest.
CREATE FUNCTION {schema}skene_draw_v1(p_subject text, p_meter text, p_units bigint, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $function$
DECLARE
    v_grant {schema}skene_grants;
    v_taken bigint;
BEGIN
    FOR v_grant IN
        SELECT *
          FROM {schema}skene_grants g
         WHERE g.subject = p_subject AND g.meter = p_meter AND g.spent < g.units
           AND (g.expires_at IS NULL OR g.expires_at > p_now)
         ORDER BY g.expires_at NULLS LAST, g.id
           FOR UPDATE
    LOOP
        v_taken := least(p_units, v_grant.units - v_grant.spent);
        UPDATE {schema}skene_grants g
           SET spent = g.spent + v_taken, spent_at = p_now
         WHERE g.id = v_grant.id;
        p_units := p_units - v_taken;
        EXIT WHEN p_units = 0;
    END LOOP;
    IF p_units > 0 THEN
        -- A grant was made after the others were locked, and a call on another plan has spent it meanwhile.
        RAISE EXCEPTION 'granted units were spent in this very moment' USING ERRCODE = 'serialization_failure';
    END IF;
END
$function$;


-- Return granted units: to the grant that was spent from last before the others. One that has expired meanwhile takes
-- its own back, too; they cannot be spent any more.
CREATE FUNCTION {schema}skene_put_back_v1(p_subject text, p_meter text, p_units bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $function$
DECLARE
    v_grant {schema}skene_grants;
    v_back bigint;
BEGIN
    PERFORM FROM {schema}skene_grants g
      WHERE g.subject = p_subject AND g.meter = p_meter AND g.spent > 0
      ORDER BY g.id
        FOR UPDATE;
    FOR v_grant IN
        SELECT *
          FROM {schema}skene_grants g
         WHERE g.subject = p_subject AND g.meter = p_meter AND g.spent > 0
         ORDER BY g.spent_at DESC, g.expires_at DESC NULLS FIRST, g.id DESC
           FOR UPDATE
    LOOP
        v_back := least(p_units, v_grant.spent);
        UPDATE {schema}skene_grants g SET spent = g.spent - v_back WHERE g.id = v_grant.id;
        p_units := p_units - v_back;
        EXIT WHEN p_units = 0;
    END LOOP;
END
$function$;


-- How every counter of a call stands, and whether it would admit it. Reads only.
CREATE FUNCTION {schema}skene_look_v2(
    p_subject text,
    p_plan text,
    p_default_plan text,
    p_charges jsonb,
    p_now timestamptz,
    p_cycle timestamptz[]
) RETURNS {schema}skene_tally_v2[]
LANGUAGE plpgsql VOLATILE  -- every look sees what was committed before it
AS $function$
DECLARE
    v_charge jsonb;
    v_stored {schema}skene_usage;
    v_counter {schema}skene_usage;
    v_room bigint;
    v_tally {schema}skene_tally_v2;
    v_tallies {schema}skene_tally_v2[] := '{}';
BEGIN
    FOR v_index IN 0 .. jsonb_array_length(p_charges) - 1 LOOP
        v_charge := p_charges->v_index;
        v_tally.step := v_charge->>'step';
        v_tally.meter := v_charge->>'meter';
        v_tally.rule := v_charge->'rule';
        v_tally.cost := (v_charge->>'cost')::bigint;
        v_tally.plan := CASE WHEN v_charge->'limits' ? p_plan THEN p_plan ELSE p_default_plan END;
        v_tally."limit" := (v_charge->'limits'->>v_tally.plan)::bigint;
        SELECT * INTO v_stored
          FROM {schema}skene_usage u
         WHERE u.subject = p_subject AND u.meter = v_tally.meter AND u.plan = v_tally.plan;
        v_tally.stored := FOUND;
        v_counter := {schema}skene_present_v1(v_stored, v_tally.rule, p_now, p_cycle);
        v_tally.renewed := v_tally.stored AND v_counter.used = 0 AND v_stored.used > 0;
        v_tally.used := v_counter.used;
        -- What has left the window is taken for paid with grants first: see skene/engine/counter.py.
        v_tally.extra := greatest(0, v_counter.used - v_stored.used + {schema}skene_extra_v1(
            v_stored.extra, v_stored.extra_since, v_stored.window_start, v_stored.used));
        SELECT least(coalesce(sum(g.units - g.spent), 0), 9223372036854775807) INTO v_tally.granted
          FROM {schema}skene_grants g
         WHERE g.subject = p_subject AND g.meter = v_tally.meter AND g.spent < g.units
           AND (g.expires_at IS NULL OR g.expires_at > p_now);
        v_room := greatest(0, v_tally."limit" - (v_tally.used - v_tally.extra));
        v_tally.drawn := CASE WHEN v_tally."limit" IS NULL THEN 0 ELSE greatest(0, v_tally.cost - v_room) END;
        v_tally.fits := v_tally.drawn <= v_tally.granted;
        v_tally.window_start := v_counter.window_start;
        v_tally.window_end := v_counter.window_end;
        v_tally.part_starts := v_counter.part_starts;
        v_tally.part_used := v_counter.part_used;
        v_tally.notices := v_counter.notices;
        v_tallies := v_tallies || v_tally;
    END LOOP;
    RETURN v_tallies;
END
$function$;


-- Take the cost from a counter that admits it.
CREATE FUNCTION {schema}skene_charge_v2(p_tally {schema}skene_tally_v2, p_now timestamptz)
RETURNS {schema}skene_tally_v2
LANGUAGE plpgsql IMMUTABLE
AS $function$
DECLARE
    v_most constant bigint := 9223372036854775807;  -- an unlimited counter stays there rather than fail
    v_parts int := cardinality(p_tally.part_starts);
    v_part interval;
BEGIN
    p_tally.charged_at := p_tally.window_start;
    IF p_tally.rule->>'kind' = 'rolling' THEN
        IF v_parts > 0 THEN
            v_part := (p_tally.rule->>'part')::bigint * interval '1 microsecond';
            p_tally.charged_at := greatest(
                date_bin(v_part, p_now, '1970-01-01T00:00:00Z'), p_tally.part_starts[v_parts]);
        END IF;
        IF v_parts = 0 OR p_tally.part_starts[v_parts] <> p_tally.charged_at THEN
            p_tally.part_starts := p_tally.part_starts || p_tally.charged_at;
            p_tally.part_used := p_tally.part_used || 0::bigint;
            v_parts := v_parts + 1;
        END IF;
        p_tally.part_used[v_parts] := least(p_tally.part_used[v_parts], v_most - p_tally.cost) + p_tally.cost;
    END IF;
    p_tally.used := least(p_tally.used, v_most - p_tally.cost) + p_tally.cost;
    p_tally.extra := least(p_tally.extra, v_most - p_tally.drawn) + p_tally.drawn;
    p_tally.granted := p_tally.granted - p_tally.drawn;
    RETURN p_tally;
END
$function$;


-- Write charged counters, and move the windows that are over to the history. What grants pay is spent.
CREATE FUNCTION {schema}skene_write_v2(p_subject text, p_tallies {schema}skene_tally_v2[], p_now timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $function$
DECLARE
    v_tally {schema}skene_tally_v2;
BEGIN
    FOREACH v_tally IN ARRAY p_tallies LOOP
        IF v_tally.renewed AND v_tally.rule->>'kind' <> 'rolling' THEN
            INSERT INTO {schema}skene_usage_history AS h (subject, meter, plan, window_start, window_end, used)
            SELECT u.subject, u.meter, u.plan, u.window_start, u.window_end, u.used
              FROM {schema}skene_usage u
             WHERE u.subject = p_subject AND u.meter = v_tally.meter AND u.plan = v_tally.plan
            ON CONFLICT (subject, meter, plan, window_start)
            DO UPDATE SET used = h.used + excluded.used, window_end = excluded.window_end;
        END IF;
        UPDATE {schema}skene_usage u
           SET window_start = v_tally.window_start,
               window_end = v_tally.window_end,
               used = v_tally.used,
               extra = v_tally.extra,
               extra_since = v_tally.window_start,
               part_starts = v_tally.part_starts,
               part_used = v_tally.part_used,
               notices = v_tally.notices
         WHERE u.subject = p_subject AND u.meter = v_tally.meter AND u.plan = v_tally.plan;
        IF v_tally.drawn > 0 THEN
            PERFORM {schema}skene_draw_v1(p_subject, v_tally.meter, v_tally.drawn, p_now);
        END IF;
    END LOOP;
END
$function$;


-- Charge a call that was just seen to fit: lock its counters, look again, and write, unless somebody was quicker. Then
-- some counter does not fit any more, nothing is charged and no trace is left.
CREATE FUNCTION {schema}skene_take_v2(
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
    v_made text[] := '{}';
BEGIN
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
    IF EXISTS (SELECT FROM unnest(p_tallies) t WHERE NOT t.fits) THEN
        DELETE FROM {schema}skene_usage u
         USING unnest(p_tallies) t
         WHERE u.subject = p_subject AND u.meter = t.meter AND u.plan = t.plan AND t.meter = ANY (v_made);
    ELSE
        FOR v_index IN 1 .. cardinality(p_tallies) LOOP
            p_tallies[v_index] := {schema}skene_charge_v2(p_tallies[v_index], p_now);
        END LOOP;
        PERFORM {schema}skene_write_v2(p_subject, p_tallies, p_now);
    END IF;
    RETURN p_tallies;
END
$function$;


-- Decide a call and, if p_spend is true and every counter admits it, charge it. One row for each charge, in their order.
-- A call that is refused has taken no lock and written nothing.
CREATE FUNCTION {schema}skene_decide_v2(
    p_subject text,
    p_default_plan text,
    p_charges jsonb,      -- [{"step", "meter", "cost", "limits": {plan: units or null}, "rule"}, ...]
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
    SELECT c.plan, c.until, c.customer, c.checked_at, c.cycle
      INTO v_plan, v_until, customer, checked_at, v_cycle
      FROM {schema}skene_customers c
     WHERE c.subject = p_subject;
    IF v_plan IS NULL OR v_until <= v_now THEN
        v_plan := p_default_plan;
    ELSIF v_plan <> p_default_plan
          AND NOT EXISTS (SELECT FROM jsonb_array_elements(p_charges) AS charge WHERE charge->'limits' ? v_plan) THEN
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
    ELSIF p_spend AND jsonb_array_length(p_charges) = 1 AND p_charges->0->'rule'->>'kind' = 'anchored'
          AND p_charges->0->'limits' ? v_plan THEN
        -- By far the most calls: one counter, its window running, room left. An update that finds no such row is a read.
        -- What grants have paid for is left out: it takes no room, and where there is any, the long way finds it.
        v_limit := coalesce((p_charges->0->'limits'->>v_plan)::bigint, 9223372036854775807);
        v_cost := (p_charges->0->>'cost')::bigint;
        IF v_cost <= v_limit THEN
            UPDATE {schema}skene_usage u
               SET used = u.used + v_cost
             WHERE u.subject = p_subject AND u.meter = p_charges->0->>'meter' AND u.plan = v_plan
               AND u.window_end > v_now AND u.used <= v_limit - v_cost AND u.part_starts = '{}'
            RETURNING u.used, u.window_start, u.window_end, u.notices,
                      {schema}skene_extra_v1(u.extra, u.extra_since, u.window_start, u.used),
                      (SELECT least(coalesce(sum(g.units - g.spent), 0), 9223372036854775807)
                         FROM {schema}skene_grants g
                        WHERE g.subject = p_subject AND g.meter = p_charges->0->>'meter' AND g.spent < g.units
                          AND (g.expires_at IS NULL OR g.expires_at > v_now))
                 INTO used, window_start, window_end, notices, v_extra, granted;
            IF FOUND THEN
                outcome := 'admitted';
                "limit" := {schema}skene_reported_v1(
                    (p_charges->0->'limits'->>v_plan)::bigint, used, v_extra, granted);
                fits := true;
                charged_plan := v_plan;
                charged_at := window_start;
                RETURN NEXT;
                RETURN;
            END IF;
        END IF;
    END IF;

    v_tallies := {schema}skene_look_v2(p_subject, v_plan, p_default_plan, p_charges, v_now, v_cycle);

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
                RETURN QUERY SELECT * FROM {schema}skene_decide_v2(
                    p_subject, p_default_plan, p_charges, p_key, p_fingerprint, p_now, p_spend);
                RETURN;
            END IF;
        END IF;
        IF p_spend AND v_fits THEN
            v_tallies := {schema}skene_take_v2(
                p_subject, v_plan, p_default_plan, p_charges, v_now, v_cycle, v_tallies);
            v_fits := NOT EXISTS (SELECT FROM unnest(v_tallies) t WHERE NOT t.fits);
            IF NOT v_fits AND p_key IS NOT NULL THEN
                DELETE FROM {schema}skene_idempotency_keys k WHERE k.subject = p_subject AND k.key = p_key;
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
CREATE FUNCTION {schema}skene_consume_v2(
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
    SELECT * FROM {schema}skene_decide_v2(
        p_subject, p_default_plan, p_charges, p_key, p_fingerprint, p_now, p_spend)
$function$;


-- Many calls in one transaction, in the order given; `call` is their number, from 1. The caller sorts them by
-- subject and meter, so that two such transactions lock rows in the same order. Whoever holds a lock for long is
-- not waited for: the calls are then made one by one, and only those that meet the lock suffer from it.
CREATE FUNCTION {schema}skene_consume_many_v2(
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
          FROM {schema}skene_decide_v2(
              p_subjects[v_call], p_default_plans[v_call], p_charges[v_call]::jsonb,
              p_keys[v_call], p_fingerprints[v_call], p_now, p_spend) AS decided;
    END LOOP;
END
$function$;


-- Give units back to the windows, or parts of rolling ones, that they were taken from. Never below zero. What grants
-- paid for in a running window goes back to them first.
CREATE FUNCTION {schema}skene_refund_v2(
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
    v_receipt record;
    v_counter {schema}skene_usage;
    v_part int;
    v_left bigint;
    v_extra bigint;
    v_back bigint;
    v_now timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    IF p_key IS NOT NULL THEN
        DELETE FROM {schema}skene_idempotency_keys k
         WHERE k.subject = p_subject AND k.key = p_key AND NOT k.repeated;
        IF NOT FOUND AND EXISTS (SELECT FROM {schema}skene_idempotency_keys k
                                  WHERE k.subject = p_subject AND k.key = p_key) THEN
            RETURN;  -- a repetition went on for free: the charge is its as well
        END IF;
    END IF;
    IF cardinality(p_meters) > 1 THEN
        PERFORM FROM {schema}skene_usage u
           JOIN unnest(p_meters, p_plans) AS r (meter, plan) ON u.meter = r.meter AND u.plan = r.plan
          WHERE u.subject = p_subject
          ORDER BY u.meter
            FOR UPDATE OF u;
        PERFORM FROM {schema}skene_grants g
          WHERE g.subject = p_subject AND g.meter = ANY (p_meters) AND g.spent > 0
          ORDER BY g.id
            FOR UPDATE;
    END IF;
    FOR v_receipt IN
        SELECT * FROM unnest(p_meters, p_plans, p_charged_at, p_costs) AS r (meter, plan, charged_at, cost)
         ORDER BY r.meter COLLATE "C"
    LOOP
        UPDATE {schema}skene_usage u
           SET used = greatest(0, u.used - v_receipt.cost)
         WHERE u.subject = p_subject AND u.meter = v_receipt.meter AND u.plan = v_receipt.plan
           AND u.window_start = v_receipt.charged_at AND u.part_starts = '{}' AND u.extra = 0;
        CONTINUE WHEN FOUND;
        SELECT * INTO v_counter
          FROM {schema}skene_usage u
         WHERE u.subject = p_subject AND u.meter = v_receipt.meter AND u.plan = v_receipt.plan
           FOR UPDATE;
        v_part := array_position(v_counter.part_starts, v_receipt.charged_at);
        IF v_part IS NOT NULL OR (v_counter.part_starts = '{}' AND v_counter.window_start = v_receipt.charged_at) THEN
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
                   extra_since = u.window_start
             WHERE u.subject = p_subject AND u.meter = v_receipt.meter AND u.plan = v_receipt.plan;
            -- A window, or part, that is over gives nothing back to grants.
            IF v_back > 0 AND v_now - v_receipt.charged_at < v_counter.window_end - v_counter.window_start THEN
                PERFORM {schema}skene_put_back_v1(p_subject, v_receipt.meter, v_back);
            END IF;
        ELSE
            UPDATE {schema}skene_usage_history h
               SET used = greatest(0, h.used - v_receipt.cost)
             WHERE h.subject = p_subject AND h.meter = v_receipt.meter AND h.plan = v_receipt.plan
               AND h.window_start = v_receipt.charged_at;
        END IF;
    END LOOP;
END
$function$;
