"""The published sizes, from shapes alone."""

import pytest

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.model_info import format_value, model_info


@pytest.mark.parametrize(
    ("name", "total", "active", "without", "routed"),
    [
        ("nano", 31.58, 3.58, 3.23, 29.37),
        ("super", 120.67, 12.77, 12.23, 112.74),
        ("ultra", 549.31, 56.06, 54.99, 515.40),
    ],
)
def test_presets_have_the_published_sizes(name, total, active, without, routed):
    info = model_info(name)
    found = (
        info.parameters,
        info.active_parameters,
        info.active_parameters_without_embeddings,
        info.routed_parameters,
    )
    assert tuple(round(n / 1e9, 2) for n in found) == (total, active, without, routed)


def test_cache_sizes_are_those_of_the_reports():
    mib = 1 << 20
    nano, big = model_info("nano"), model_info("super")
    assert nano.cache_bytes_per_token == 6144
    assert big.cache_bytes_per_token == 8192
    assert abs(nano.state_bytes / mib - 46.81) < 0.01
    assert abs(model_info("ultra").state_bytes / mib - 389.06) < 0.01
    assert round(model_info("nano", context=0).roofline_tokens_per_second) in range(725, 744)


def test_sizes_are_those_of_a_real_model(tmp_path):
    model = NemotronModel(NemotronConfig.preset("tiny"))
    model.save_pretrained(tmp_path)
    info = model_info(tmp_path, context=100, weights="float32")
    assert info.parameters + info.mtp_parameters == sum(p.numel() for p in model.parameters())
    assert info.weight_bytes == sum(p.nbytes for p in model.parameters())
    cache = model.new_cache(1, capacity=100)
    convolution = sum(s.conv.nbytes for s in cache.layers if hasattr(s, "conv"))
    assert cache.nbytes == info.state_bytes + convolution // 2 + 2 * info.cache_bytes


def test_the_default_context_is_within_the_limit_of_each_preset():
    assert {name: model_info(name).context for name in ("tiny", "nano")} == {"tiny": 8192, "nano": 32768}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "nanno"}, "did you mean nano"),
        ({"source": "nano", "device": "h300"}, "choose one of"),
        ({"source": "nano", "weights": "int3"}, "choose one of"),
        ({"source": "nano", "context": 10**9}, "limit is 262144"),
    ],
)
def test_wrong_questions_are_refused(arguments, message):
    with pytest.raises(NemotronInputError, match=message):
        model_info(arguments.pop("source"), **arguments)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("parameters", 31_577_937_344, "31.58 B"),
        ("mtp_parameters", 0, "0.00 M"),
        ("state_bytes", 49_082_368, "46.81 MiB"),
        ("weight_bytes", 63_155_874_688, "58.82 GiB"),
        ("cache_bytes_per_token", 6144, "6,144 B"),
        ("context", 32768, "32,768"),
        ("roofline_tokens_per_second", 710.61, "710.6"),
        ("device", "h200", "h200"),
    ],
)
def test_figures_format_value_have_units(name, value, text):
    assert format_value(name, value) == text
