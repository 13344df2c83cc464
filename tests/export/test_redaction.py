from __future__ import annotations

import pytest

from searcher.export.redaction import public_name, redact


@pytest.mark.parametrize(
    "location",
    [
        "/srv/canary/models/low",
        "~/canary/models",
        "/canary",
        "C:\\Users\\canary\\low",
        "D:/canary/low",
        "\\\\host\\canary",
        "file:///srv/canary",
        "s3://bucket/canary",
        "https://user:canary@example.com/x",
        "/srv/with space/canary",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "torch 2.13 @ {}", "from '{}'.", "({})", "a={}, b"])
def test_locations_are_removed(location: str, frame: str) -> None:
    assert "canary" not in redact(frame.format(location), {})


@pytest.mark.parametrize(
    "text",
    [
        "organisation/name@0123456789abcdef",
        "base/model.safetensors",
        "0.9375 ± 0.0125",
        "block 0: norm and mlp",
        "accuracy and/or loss",
        "2.13.0+cpu",
        "model.layers.0.mlp.up_proj.weight",
        "nats/token",
        "either / or",
    ],
)
def test_ordinary_text_is_kept(text: str) -> None:
    assert redact(text, {}) == text


@pytest.mark.parametrize(
    "token",
    ["hf_CANARYcanary123", "sk-canary-1234567890", "ghp_canaryCANARY12345678", "AKIACANARYCANARY1234"],
)
def test_access_tokens_are_removed(token: str) -> None:
    assert token not in redact(f"key {token} given", {})


def test_values_of_secret_variables_are_removed() -> None:
    environment = {"OPENAI_API_KEY": "canary-in-plain-words", "db_password": "canary2-in-words", "LANG": "en_GB.UTF-8"}
    assert redact("canary-in-plain-words canary2-in-words en_GB.UTF-8", environment) == "[secret] [secret] en_GB.UTF-8"
    assert redact("short", {"TOKEN": "short"}) == "short"


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("low", "low"),
        ("org/name@main", "org/name@main"),
        ("/srv/canary/low", "low"),
        ("C:\\canary\\low", "low"),
        ("runs/canary/deep/low/", "low"),
    ],
)
def test_names_that_are_paths_keep_their_last_part(name: str, public: str) -> None:
    assert public_name(name) == public
