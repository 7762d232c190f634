"""What a token costs: counted from the file, against the same reckoned from the model's shape."""

import pytest

from export.package import open_package
from runner.traffic import read_traffic


@pytest.fixture
def traffic(tiny_int4):
    with open_package(tiny_int4.package) as package:
        yield read_traffic(package), package.manifest.model.config


def test_a_token_multiplies_with_every_matrix_of_the_model(traffic):
    found, config = traffic
    heads, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    layer = config.dim * (2 * heads + 2 * keys + 3 * config.ffn_dim)
    assert found.layer_products == config.num_layers * layer
    assert found.head_products == config.vocab_size * config.dim


def test_a_decoded_token_reads_every_code_and_scale_once(traffic):
    found, config = traffic
    products = found.layer_products + found.head_products
    heads, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    rows = config.num_layers * (heads + 2 * keys + 2 * config.dim + 2 * config.ffn_dim) + config.vocab_size
    assert found.matrix_bytes == products // 2 + 2 * products // 32 + 8 * rows  # codes, bf16 scales, what packing adds
    assert found.table_row_bytes == config.dim // 2 + 2 * config.dim // 32


def test_the_cache_is_read_as_far_as_each_layer_sees(traffic):
    found, config = traffic
    token = 2 * config.num_kv_heads * (config.head_dim + 4 + 1)  # of a layer: INT8 keys and values, scales, zero points
    local = [layer.window for layer in found.cache.layers if layer.kind == "local"]
    assert found.cache_bytes(0) == token * config.num_layers
    assert found.cache_bytes(9) == 10 * token * config.num_layers
    assert found.cache_bytes(1_000_000) == token * (241 * (config.num_layers - len(local)) + sum(local))
    mean = (found.cache_bytes(7) + found.cache_bytes(8) + found.cache_bytes(9)) / 3
    assert found.decode_bytes(7, 3) == found.matrix_bytes + found.table_row_bytes + mean


def test_a_prefill_needs_the_head_once_a_call(traffic):
    found, _ = traffic
    assert found.prefill_operations(1) == 2 * (found.layer_products + found.head_products)
    assert found.prefill_operations(33) == 2 * (33 * found.layer_products + 3 * found.head_products)


def test_an_untied_head_an_8_bit_matrix_and_a_float_recipe_are_counted_as_stored(other_int4, tiny_float):
    for made in (other_int4, tiny_float):
        with open_package(made.package) as package:
            found, config = read_traffic(package), package.manifest.model.config
            parts = package.path("program").stat().st_size
        assert found.head_products == config.vocab_size * config.dim
        assert found.matrix_bytes < parts + 8 * 10_000
    assert found.matrix_bytes >= 4 * (found.layer_products + found.head_products)  # float32
