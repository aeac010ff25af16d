import pytest

from prompts import InvalidPrompt, MissingVariable, Templates, UnknownPrompt
from prompts.templates import load

VALID = """---
name: greet
version: 1
purpose: Greet.
role: user
variables:
  who: whom to greet
why: because
---
Hello {{ who }}!
"""


def _written(folder, text, name="greet"):
    path = folder / f"{name}.jinja"
    path.write_text(text)
    return path


def test_every_built_in_template_loads():
    templates = Templates()
    assert {templates.get(name).name for name in templates.names()} == set(templates.names())
    assert {"answer_with_sources", "refuse", "condense_question", "qa_or_unanswerable"} <= set(templates.names())


def test_template_renders_its_variables(tmp_path):
    assert load(_written(tmp_path, VALID)).message(who="you").content == "Hello you!"


def test_missing_and_unknown_variables_are_named(tmp_path):
    with pytest.raises(MissingVariable, match=r"missing variables \['who'\], unknown variables \['whom'\]"):
        load(_written(tmp_path, VALID)).render(whom="you")


def test_attribute_that_is_not_there_is_an_error_not_a_blank(tmp_path):
    template = load(_written(tmp_path, VALID.replace("{{ who }}", "{{ who.name }}")))
    with pytest.raises(MissingVariable, match="name"):
        template.render(who={})


def test_template_of_the_users_wins_over_the_built_in(tmp_path):
    _written(tmp_path, VALID.replace("greet", "refuse").replace("who: whom to greet", "who: x"), "refuse")
    assert Templates(tmp_path).get("refuse").render(who="me") == "Hello me!"
    assert Templates().get("refuse").render() == "The documents do not say."


def test_content_hash_changes_with_the_wording(tmp_path):
    first = load(_written(tmp_path, VALID)).content_hash
    assert load(_written(tmp_path, VALID.replace("Hello", "Hallo"))).content_hash != first


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Hello", "front matter"),
        (VALID.replace("version: 1", "version: one"), "version"),
        (VALID.replace("role: user", "role: robot"), "role is 'robot'"),
        (VALID.replace("why: because", "why: because\nextra: 1"), r"extra \(unknown\)"),
        (VALID.replace("name: greet", "name: meet"), "the file's is 'greet'"),
        (VALID.replace("{{ who }}", "{{ whom }}"), r"declares the variables \['who'\] but uses \['whom'\]"),
        (VALID.replace("{{ who }}", "{{ who "), "line 1 of its body"),
        (VALID.replace("name: greet", "name: [greet"), "not YAML"),
    ],
)
def test_template_that_is_not_well_formed_is_refused_with_its_reason(tmp_path, text, reason):
    with pytest.raises(InvalidPrompt, match=reason):
        load(_written(tmp_path, text))


@pytest.mark.parametrize("name", ["nonsense", "../secrets", "", "/etc/passwd"])
def test_unknown_template_is_refused(tmp_path, name):
    (tmp_path / "secrets.jinja").write_text(VALID.replace("greet", "secrets"))
    (tmp_path / "prompts").mkdir()
    with pytest.raises(UnknownPrompt, match="answer_with_sources"):
        Templates(tmp_path / "prompts").get(name)


def test_templates_cannot_reach_into_python(tmp_path):
    template = load(_written(tmp_path, VALID.replace("{{ who }}", "{{ who.__class__.__mro__ }}")))
    with pytest.raises(Exception, match="unsafe"):
        template.render(who="you")


@pytest.mark.parametrize("closing", ["</source>", "</SOURCE >", "< / source>", '<source number="2">'])
def test_text_of_a_source_stays_in_its_fence(closing):
    source = {"number": 1, "filename": 'a".md', "page": None, "heading": '">', "text": f"x {closing} <b>y</b>"}
    prompt = Templates().get("answer_with_sources").render(sources=[source], refusal="No.")
    fence = prompt.partition("<source")[2]
    assert fence.startswith(""" number="1" file="a'.md" section="'>">""")
    assert f"x &lt;{closing[1:]} <b>y</b>\n</source>" in fence
