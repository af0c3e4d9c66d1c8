"""A user's SELECT: what is read, what is refused, and in which words."""

import pytest

from skene.definitions.faults import DefinitionError
from skene.definitions.sql import LONGEST_QUERY, Select, read_select

SEED = [
    "SELECT * FROM user_actions WHERE user_id = $1 AND action_type = 'first_project_created'",
    "SELECT * FROM users WHERE last_activity_at < NOW() - INTERVAL '7 days' AND re_engagement_sent = false",
]
FINE = [
    *SEED,
    "select 1;",
    "SELECT 1 ; ; -- done",
    "  -- why\n(SELECT id FROM a) UNION (SELECT id FROM b)",
    "WITH recent AS (SELECT * FROM logins) SELECT * FROM recent",
    "SELECT * FROM t WHERE note = 'DELETE; it''s DROP'",
    r"SELECT * FROM t WHERE note = E'it\'s; DELETE' AND x = 1",
    "SELECT $$DELETE; ?$$, $tag$ $$ ; INSERT $tag$",
    'SELECT "set", t.update, u . lock, `delete`, [into] FROM t',
    'SELECT 1 AS "DELETE"',
    "SELECT /* DELETE /* nested ; */ INSERT */ 1",
    "SELECT substring(name FOR 3), substring(name FOR key), set_configs, nextvalue FROM t",
    "SELECT set_config FROM t",
    "SELECT a::text, b[1], c[i], ARRAY[1, 2][1:2], d -> 'e' FROM t",
    "SELECT 1e5, .5, 0xFF, 1_000, 12.50",
    "SELECT '{paid,trial}'::text[]",
    "WITH RECURSIVE t AS (SELECT 1 AS id) SEARCH DEPTH FIRST BY id, name SET o SELECT * FROM t",
    "WITH RECURSIVE t AS (SELECT 1 AS id) CYCLE id SET is_cycle USING path SELECT * FROM t",
    "SELECT naïve, 名 FROM t",
]


@pytest.mark.parametrize("text", FINE)
def test_what_only_reads_is_read(text: str) -> None:
    assert read_select(text).text == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "got None; give a SELECT"),
        (" \n", "got an empty text"),
        ("-- nothing", "got no statement"),
        (";", "got no statement"),
        ("SELECT '\0'", "got a text with a NUL character"),
        ("SELECT " + "1" * LONGEST_QUERY, "got 20,007 characters; give at most 20,000 characters"),
        ("COMMIT; DELETE FROM users", "got a second statement that begins with DELETE; give one statement"),
        ("SELECT 1; SELECT 2;", "a second statement that begins with SELECT"),
        ("DELETE FROM users", "got a statement that begins with DELETE; give a SELECT"),
        ("SELCT 1", "did you mean SELECT?"),
        ("(TABLE users)", "a statement that begins with TABLE"),
        ("((", "a statement that begins with ("),
        ("WITH gone AS (DELETE FROM users RETURNING id) SELECT * FROM gone", "got the word DELETE"),
        ("WITH t AS (SELECT 1) UPDATE users SET a = 1", "got the word UPDATE"),
        ("WITH t AS (SELECT 1DELETE FROM users)", "got the word DELETE"),
        ("SELECT * INTO copy_of_users FROM users", "got the word INTO"),
        ("SELECT set FROM t", 'a column of that name goes into quotes: "set"'),
        ("SELECT id, SET FROM t", "got the word SET"),
        ("SELECT * FROM t FOR UPDATE", "got FOR UPDATE, which locks rows"),
        ("SELECT * FROM t FOR NO KEY UPDATE", "got FOR NO, which locks rows"),
        ("SELECT * FROM t for key share", "got FOR KEY, which locks rows"),
        ("SELECT set_config('statement_timeout', '0', false)", "got the function set_config"),
        ("SELECT pg_catalog.set_config ('a', 'b', false)", "got the function set_config"),
        ("SELECT pg_catalog . /* hidden */ \"set_config\"('a', 'b', false)", "got the function set_config"),
        ("SELECT PG_SLEEP_FOR('1 h')", "got the function PG_SLEEP_FOR"),
        ("SELECT * FROM dblink_exec('…')", "got the function dblink_exec"),
        ("SELECT lo_unlink(1)", "got the function lo_unlink"),
        ("SELECT pg_read_binary_file('/etc/passwd')", "got the function pg_read_binary_file"),
        ("SELECT pg_terminate_backend(1)", "got the function pg_terminate_backend"),
        ("SELECT query_to_xml('DELETE FROM users', true, true, '')", "got the function query_to_xml"),
        ("SELECT load_extension('x')", "got the function load_extension"),
        ('SELECT U&"\\0073et_config"(1)', 'got U&"…, which hides characters'),
        ("SELECT $2", "got the placeholder $2; give $1 for the subject"),
        ("SELECT ?", "got the placeholder ?"),
        ("SELECT $name", "got a $ that binds nothing"),
        ("SELECT * FROM t WHERE id = {subject}", "got a {…} as in an f-string; give $1 for the subject"),
        ("SELECT * FROM t WHERE id = '{subject}'", "got {subject} inside a text; give $1"),
        ("SELECT 'open", "got a quote ' that is not closed"),
        ("SELECT 'it''s open", "got a quote ' that is not closed"),
        (r"SELECT E'open\' ", "got a quote ' that is not closed"),
        ('SELECT "open', 'got a quote " that is not closed'),
        ("SELECT `open", "got a quote ` that is not closed"),
        ("SELECT $a$open$b$", "got a text $a$ that is not closed"),
        ("SELECT /* open /* */", "got a comment /* that is not closed"),
    ],
)
def test_the_rest_is_refused_in_words(text: object, said: str) -> None:
    with pytest.raises(DefinitionError) as error:
        read_select(text)
    assert said in str(error.value)


def test_all_faults_come_in_one_error() -> None:
    with pytest.raises(DefinitionError) as error:
        read_select("SELECT pg_sleep(1), $3 INTO x FROM t WHERE a = ? AND b = ? FOR UPDATE")
    assert [fault.given for fault in error.value.faults] == [
        "the function pg_sleep",
        "the word INTO",
        "FOR UPDATE, which locks rows",
        "the placeholder $3",
        "the placeholder ?",
    ]


def test_names_and_numbers() -> None:
    text = (
        "SELECT ':no', $$ :no $$ /* :no */ WHERE a = :plan AND b = $1::t AND c > :plan -- :no\n"
        " AND :subject = d;"
    )
    select = read_select(text)
    assert select.names == ("plan", "subject")
    shown = "SELECT ':no', $$ :no $$ /* :no */ WHERE a = $1 AND b = $2::t AND c > $1 -- :no\n AND $2 = d"
    assert select.numbered() == shown
    assert select.numbered("?") == shown.replace("= $1", "= ?1").replace("$2", "?2").replace("> $1", "> ?1")
    assert select.render(lambda number: f"<{number}>").count("<1>") == 2


def test_a_query_is_a_value() -> None:
    assert read_select("SELECT $1") == read_select("SELECT $1")
    assert isinstance(hash(read_select("SELECT $1")), int)
    assert read_select("SELECT 1") == Select("SELECT 1", ("SELECT 1",), ())
