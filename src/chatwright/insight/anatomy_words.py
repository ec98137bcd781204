"""The words of a model's picture, in English and Chinese."""

from __future__ import annotations

from collections.abc import Callable

from chatwright.errors import UserError

Say = Callable[..., str]

_WORDS: dict[str, tuple[str, str]] = {
    "tokens": ("tokens", "词元"),
    "source": ("tokens of the source", "源文词元"),
    "target": ("tokens of the target so far", "已写出的译文词元"),
    "places": ("a position to predict", "要预测的位置"),
    "next_token": ("the next token", "下一个词元"),
    "its_token": ("the token at that position", "该位置上的词元"),
    "memories": ("states that know their tokens", "含有自身词元信息的状态"),
    "encoder": ("Encoder", "编码器"),
    "decoder": ("Decoder", "解码器"),
    "content_stream": ("Content stream", "内容流"),
    "query_stream": ("Query stream, the same weights", "查询流（权重与内容流共用）"),
    "embedding": ("Token embedding", "词元嵌入"),
    "learned": ("Learned positions", "可学习的位置编码"),
    "types": ("Sentence types", "句子类型"),
    "sinusoids": ("Sinusoidal positions", "正弦位置编码"),
    "not_learned": ("fixed, not learned", "固定，不参与学习"),
    "rotary": ("Rotary positions", "旋转位置编码"),
    "turned": ("turn queries and keys", "旋转查询和键"),
    "scaled": ("times √{width:,}", "乘以 √{width:,}"),
    "mask_vector": ("One learned vector", "一个可学习的向量"),
    "one_vector": ("{width:,} numbers, at every position", "{width:,} 维，各位置相同"),
    "attention": ("Self-attention", "自注意力"),
    "cross": ("Cross-attention", "交叉注意力"),
    "heads": ("{heads} parallel heads of {width}", "{heads} 个并行的头，每头 {width} 维"),
    "kv_heads": ("sharing {heads} key-value heads", "共用 {heads} 个键值头"),
    "normed_heads": ("queries and keys normalized", "查询和键先归一化"),
    "qkv_bias": ("biases at queries, keys, values", "查询、键、值带偏置"),
    "relative": ("by content, distance, same text or not", "依据内容、距离、是否同段"),
    "causal": ("sees itself and what stands before", "只看自己和前文"),
    "banded": (
        "in {some} of {all} blocks only the nearest {band}",
        "{all} 层中有 {some} 层只看最近 {band} 个",
    ),
    "both_ways": ("sees the whole text", "看得见全文"),
    "whole_source": ("sees the whole source", "看得见整个源文"),
    "order_content": ("sees itself and what its order puts before", "看自己和排列顺序中更早的词元"),
    "order_query": ("sees what its order puts before", "只看排列顺序中更早的词元"),
    "feed_forward": ("Feed-forward", "前馈网络"),
    "inner": ("{width:,} → {hidden:,} → {width:,}, {act}", "{width:,} → {hidden:,} → {width:,}，{act}"),
    "experts": ("Mixture of experts", "混合专家"),
    "routed": ("a token goes through {some} of {all}", "每个词元经过 {all} 个中的 {some} 个"),
    "each": (
        "each {width:,} → {hidden:,} → {width:,}, {act}",
        "每个 {width:,} → {hidden:,} → {width:,}，{act}",
    ),
    "output": ("Output", "输出"),
    "scores": ("scores of {tokens:,} tokens", "{tokens:,} 个词元的得分"),
    "tied": ("by the embedding's own matrix", "与嵌入共用矩阵"),
    "own": ("by a matrix of its own", "使用独立的矩阵"),
    "masked_head": ("Masked tokens", "被遮住的词元"),
    "transform": ("linear, {act}, LayerNorm", "线性层、{act}、LayerNorm"),
    "pooler": ("Pooler", "池化层"),
    "pooled": ("linear and tanh of the first state", "首个状态经线性层和 tanh"),
    "pooled_for": ("for heads over a whole text", "供整段文本的任务头使用"),
    "keys_of": ("keys and values", "键和值"),
}
LANGUAGES = ("en", "zh")


def speaker(language: str) -> Say:
    """`say("heads", heads=12, width=64)` in one of LANGUAGES."""
    if language not in LANGUAGES:
        raise UserError(f"pictures speak {' and '.join(LANGUAGES)}, not {language!r}")
    index = LANGUAGES.index(language)
    return lambda key, **numbers: _WORDS[key][index].format(**numbers)
