"""A chat template of one-letter markers, for tests that count every token."""

from chat.template import ChatTemplate, Role

SHORT = ChatTemplate(
    start="",
    default_system=None,
    generation_prompt="<a>",
    end_of_turn=("</>",),
    roles={
        "system": Role(prefix="", suffix="\n"),
        "user": Role(prefix="<u>", suffix="</>"),
        "assistant": Role(prefix="<a>", suffix="</>"),
    },
)
