"""Chat templates in the styles of known families: derived, proved, or refused with the reason."""

import json
from pathlib import Path

import pytest

from chat.template import ChatTemplate, CompletionOnly, Message, delta
from model.byte_tokenizer import write_byte_tokenizer
from model.template import derive_template
from model.tokenizer import read_tokenizer_spec

CHATML = """{% for m in messages %}
{{- '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

CHATML_DEFAULT = """{% for m in messages %}{% if loop.first and m['role'] != 'system' %}
{{- '<|im_start|>system\nBe kind and short.<|im_end|>\n' }}{% endif %}
{{- '<|im_start|>' ~ m['role'] ~ '\n' ~ m['content'] ~ '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""

LLAMA3 = """{% for m in messages %}
{%- set block = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' %}
{%- if loop.first %}{% set block = bos_token + block %}{% endif %}
{{- block }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""

LLAMA31 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if use_clock and strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set told = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set told = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nToday Date: " + date_string + "\n\n" + told + "<|eot_id|>" }}
{%- for m in messages %}
    {{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""

LLAMA4 = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set told = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
    {{- "<|header_start|>system<|header_end|>\n\n" + told + "<|eot|>" }}
{%- endif %}
{%- for m in messages %}
    {{- "<|header_start|>" + m['role'] + "<|header_end|>\n\n" }}
    {%- if m['content'] is string %}{{- m['content'] }}{%- endif %}
    {{- "<|eot|>" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|header_start|>assistant<|header_end|>\n\n" }}
{%- endif %}
"""

ZEPHYR = """{% for m in messages %}
{% if m['role'] == 'user' %}
{{ '<|user|>\n' + m['content'] + eos_token }}
{% elif m['role'] == 'system' %}
{{ '<|system|>\n' + m['content'] + eos_token }}
{% elif m['role'] == 'assistant' %}
{{ '<|assistant|>\n' + m['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set told = messages[0]['content'] %}
{%- set messages = messages[1:] %}{%- endif %}{% for m in messages %}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}
{%- if loop.first and told is defined %}{% set text = '<<SYS>>\n' + told + '\n<</SYS>>\n\n' + m['content'] %}
{%- else %}{% set text = m['content'] %}{% endif %}
{%- if m['role'] == 'user' %}{{ bos_token + '[INST] ' + text | trim + ' [/INST]' }}
{%- else %}{{ ' ' + text | trim + ' ' + eos_token }}{% endif %}{% endfor %}"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}
{%- for m in messages %}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}
{%- if m['role'] == 'assistant' %}{% set who = 'model' %}{% else %}{% set who = m['role'] %}{% endif %}
{{- '<start_of_turn>' + who + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""

CONVERSATION = [
    Message(role="user", content=" Hi there\n"),
    Message(role="assistant", content="Hello"),
    Message(role="user", content="More, {{ please }}"),
]
WITH_SYSTEM = [Message(role="system", content="Be brief."), *CONVERSATION]


def _folder(
    tmp_path: Path,
    template: object,
    *,
    specials: tuple[str, ...],
    bos: str | None = None,
    eos: str | None = None,
    writes_bos: bool = True,
    stop: tuple[str, ...] = (),
) -> Path:
    """A checkpoint folder with a byte-level tokenizer that has these special tokens."""
    from tokenizers import AddedToken, Tokenizer

    write_byte_tokenizer(tmp_path, 261)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config: dict[str, object] = {"add_bos_token": writes_bos and bos is not None, "chat_template": template}
    config |= {name: text for name, text in (("bos_token", bos), ("eos_token", eos)) if text}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ids = [tokenizer.token_to_id(text) for text in stop]
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    return tmp_path


def _derive(folder: Path) -> ChatTemplate | CompletionOnly:
    return derive_template(folder, read_tokenizer_spec(folder, vocab_size=300))


def _chat(folder: Path) -> ChatTemplate:
    template = _derive(folder)
    assert isinstance(template, ChatTemplate), template
    return template


def _by_transformers(folder: Path, messages: list[Message], *, prompt: bool) -> str:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    return str(
        tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in messages], tokenize=False, add_generation_prompt=prompt
        )
    )


CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
LLAMA3_TOKENS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def test_chatml_becomes_prefixes_and_suffixes(tmp_path: Path) -> None:
    template = _chat(_folder(tmp_path, CHATML, specials=CHATML_TOKENS))
    assert (template.start, template.default_system, template.alternates) == ("", None, False)
    assert template.roles["system"].prefix == "<|im_start|>system\n"
    assert template.roles["user"].suffix == "<|im_end|>\n"
    assert template.generation_prompt == "<|im_start|>assistant\n"
    assert template.end_of_turn[0] == "<|im_end|>"
    assert not any(role.trim for role in template.roles.values())


@pytest.mark.parametrize("messages", [CONVERSATION, WITH_SYSTEM], ids=["without system", "with system"])
@pytest.mark.parametrize("name", ["chatml", "default", "llama3", "llama31", "llama4", "zephyr"])
def test_the_derived_template_renders_what_transformers_renders(
    tmp_path: Path, name: str, messages: list[Message]
) -> None:
    source, tokens, bos, eos = {
        "chatml": (CHATML, CHATML_TOKENS, None, None),
        "default": (CHATML_DEFAULT, CHATML_TOKENS, None, None),
        "llama3": (LLAMA3, LLAMA3_TOKENS, "<|begin_of_text|>", None),
        "llama31": (LLAMA31, LLAMA3_TOKENS, "<|begin_of_text|>", None),
        "llama4": (LLAMA4, (), "<|begin_of_text|>", None),
        "zephyr": (ZEPHYR, ("<s>", "</s>"), None, "</s>"),
    }[name]
    folder = _folder(tmp_path, source, specials=tokens, bos=bos, eos=eos)
    template = _chat(folder)
    for prompt in (False, True):
        assert (bos or "") + template.render(messages, add_generation_prompt=prompt) == _by_transformers(
            folder, messages, prompt=prompt
        )


def test_a_default_system_text_is_found_and_replaced_by_the_users_own(tmp_path: Path) -> None:
    template = _chat(_folder(tmp_path, CHATML_DEFAULT, specials=CHATML_TOKENS))
    assert template.default_system == "Be kind and short."
    assert "Be kind" in template.render(CONVERSATION, add_generation_prompt=True)
    assert "Be kind" not in template.render(WITH_SYSTEM, add_generation_prompt=True)


def test_llama3_trims_and_leaves_bos_to_the_tokenizer(tmp_path: Path) -> None:
    folder = _folder(tmp_path, LLAMA3, specials=LLAMA3_TOKENS, bos="<|begin_of_text|>")
    template = _chat(folder)
    assert all(role.trim for role in template.roles.values())
    assert template.start == ""
    assert template.render(CONVERSATION, add_generation_prompt=False).startswith("<|start_header_id|>user")


def test_a_bos_that_only_the_template_writes_stays_in_the_text(tmp_path: Path) -> None:
    folder = _folder(tmp_path, LLAMA3, specials=LLAMA3_TOKENS, bos="<|begin_of_text|>", writes_bos=False)
    spec = read_tokenizer_spec(folder, vocab_size=300)
    assert spec is not None and spec.bos_text == ""
    text = _chat(folder).render(WITH_SYSTEM, add_generation_prompt=True)
    assert text.startswith("<|begin_of_text|><|start_header_id|>system")
    assert text.count("<|begin_of_text|>") == 1


def test_a_fixed_date_in_the_system_header_is_part_of_the_prefix(tmp_path: Path) -> None:
    template = _chat(_folder(tmp_path, LLAMA31, specials=LLAMA3_TOKENS, bos="<|begin_of_text|>"))
    assert template.default_system == ""
    assert "Today Date: 26 Jul 2024" in template.roles["system"].prefix


def test_a_template_that_asks_the_clock_is_completion_only(tmp_path: Path) -> None:
    source = LLAMA31.replace("use_clock and ", "")
    found = _derive(_folder(tmp_path, source, specials=LLAMA3_TOKENS, bos="<|begin_of_text|>"))
    assert isinstance(found, CompletionOnly) and "today's date" in found.reason


def test_llama4_trims_only_the_system_message(tmp_path: Path) -> None:
    template = _chat(_folder(tmp_path, LLAMA4, specials=(), bos="<|begin_of_text|>"))
    assert {name: role.trim for name, role in template.roles.items()} == {
        "system": True,
        "user": False,
        "assistant": False,
    }
    assert template.end_of_turn == ("<|eot|>", "<|end_of_text|>")


def test_the_byte_tokenizers_own_template_is_expressible(tmp_path: Path) -> None:
    write_byte_tokenizer(tmp_path, 300)
    template = _chat(tmp_path)
    assert template.roles["user"].prefix == "<|header_start|>user<|header_end|>\n\n"
    assert delta(template, "x").startswith("<|eot|><|header_start|>user")


def test_gemma_style_has_no_system_role_and_insists_on_turns(tmp_path: Path) -> None:
    template = _chat(_folder(tmp_path, GEMMA, bos="<bos>", specials=("<bos>", "<start_of_turn>", "<end_of_turn>")))
    assert template.roles["assistant"].prefix == "<start_of_turn>model\n"
    assert template.alternates
    with pytest.raises(ValueError, match="takes no system message"):
        template.render(WITH_SYSTEM, add_generation_prompt=True)


def test_llama2_instructions_are_completion_only(tmp_path: Path) -> None:
    found = _derive(_folder(tmp_path, LLAMA2, specials=("<s>", "</s>"), bos="<s>", eos="</s>"))
    assert isinstance(found, CompletionOnly) and found.reason


def test_a_template_that_edits_earlier_replies_is_completion_only(tmp_path: Path) -> None:
    source = CHATML.replace("m['content'] +", "m['content'].split('</think>')[-1] +")
    found = _derive(_folder(tmp_path, source, specials=CHATML_TOKENS))
    assert isinstance(found, CompletionOnly) and "</think>" in found.reason


def test_a_template_that_trims_one_end_is_completion_only(tmp_path: Path) -> None:
    source = CHATML.replace("m['content'] +", "m['content'].rstrip() +")
    found = _derive(_folder(tmp_path, source, specials=CHATML_TOKENS))
    assert isinstance(found, CompletionOnly) and "spaces around" in found.reason


def test_a_reply_that_ends_without_a_special_token_is_completion_only(tmp_path: Path) -> None:
    found = _derive(_folder(tmp_path, CHATML, specials=("<|im_start|>",)))
    assert isinstance(found, CompletionOnly) and "'<|im_end|>\\n'" in found.reason


def test_an_end_of_turn_that_does_not_stop_is_completion_only(tmp_path: Path) -> None:
    source = CHATML.replace("<|im_end|>", "<|over|>")
    folder = _folder(tmp_path, source, specials=("<|im_start|>", "<|over|>"))
    found = _derive(folder)
    assert isinstance(found, CompletionOnly) and "eos_token_id" in found.reason
    assert isinstance(
        _derive(_folder(tmp_path, source, specials=("<|im_start|>", "<|over|>"), stop=("<|over|>",))), ChatTemplate
    )


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ tools[0].name }}",
        "{{ messages[0].content }}",
        "nothing of it",
    ],
)
def test_a_template_that_is_broken_or_drops_messages_is_completion_only(tmp_path: Path, source: str) -> None:
    assert isinstance(_derive(_folder(tmp_path, source, specials=CHATML_TOKENS)), CompletionOnly)


def test_the_template_named_default_is_taken_and_a_jinja_file_goes_first(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": CHATML}]
    folder = _folder(tmp_path, named, specials=CHATML_TOKENS)
    assert _chat(folder).default_system is None
    (folder / "chat_template.jinja").write_text(CHATML_DEFAULT)
    assert _chat(folder).default_system == "Be kind and short."


def test_no_template_and_no_tokenizer_are_named(tmp_path: Path) -> None:
    assert _derive(_folder(tmp_path, None, specials=())) == CompletionOnly(reason="the checkpoint has no chat template")
    (tmp_path / "chat_template.jinja").write_text(CHATML)
    assert derive_template(tmp_path, None) == CompletionOnly(
        reason="the checkpoint has a chat template but no tokenizer"
    )


def test_generation_blocks_and_loop_controls_render_as_in_transformers(tmp_path: Path) -> None:
    source = CHATML.replace(
        "{% for m in messages %}", "{% for m in messages %}{% if false %}{% break %}{% endif %}{% generation %}"
    ).replace("{% endfor %}", "{% endgeneration %}{% endfor %}")
    folder = _folder(tmp_path, source, specials=CHATML_TOKENS)
    assert _chat(folder).render(CONVERSATION, add_generation_prompt=True) == _by_transformers(
        folder, CONVERSATION, prompt=True
    )


def test_a_delta_continues_the_cache_to_the_whole_conversation(tmp_path: Path) -> None:
    template = _chat(_folder(tmp_path, LLAMA4, specials=(), bos="<|begin_of_text|>"))
    before = template.render(WITH_SYSTEM[:2], add_generation_prompt=True)
    assert before + "Hello" + delta(template, "More, {{ please }}") == template.render(
        WITH_SYSTEM, add_generation_prompt=True
    )


def test_a_template_that_skips_an_empty_system_message_is_still_expressible(tmp_path: Path) -> None:
    source = CHATML.replace(
        "{% for m in messages %}", "{% for m in messages if m['role'] != 'system' or m['content'] | trim %}"
    )
    template = _chat(_folder(tmp_path, source, specials=CHATML_TOKENS))
    assert template.roles["system"].prefix == "<|im_start|>system\n"
