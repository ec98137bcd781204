"""Write the page about the family: docs/family.md, docs/family.zh.md and the pictures in docs/family/.

    python docs/family.py

Pictures, counts and shapes come from the models themselves, built on the meta device; only the texts stand here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from chatwright import registry
from chatwright.insight.anatomy import active_count, parameter_count
from chatwright.insight.anatomy_picture import picture
from chatwright.insight.anatomy_words import LANGUAGES
from chatwright.models.family.architecture import Architecture
from chatwright.models.presets import model_options

HERE = Path(__file__).parent
TRAIN = "chatwright pretrain out/corpus out/tok -o out/{out} model={model} minutes=10"


@dataclass(frozen=True)
class Member:
    """What the page says of an architecture. drawn: the size in the picture; pairs are English and Chinese."""

    title: tuple[str, str]
    drawn: str
    paper: str
    new: tuple[str, str]
    command: str


def train(model: str, more: str = "") -> str:
    out = model.rsplit("-", 1)[0]
    return TRAIN.format(out=out, model=model) + more


MEMBERS: dict[str, Member] = {
    "transformer": Member(
        ("Transformer (2017)", "Transformer（2017）"),
        "transformer-base",
        "Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762)",
        (
            """The translators of its time read word after word, in a recurrent network. Here nothing recurs: every token looks at
all others at once, so a whole text is learned from in parallel. Attention is done by several heads side by side, each
in its own part of the width; multi-head means parallel, not stacked. Each head's scores are divided by √d, the root of
the head's width, without which softmax would saturate. Attention knows no order, so waves of many lengths are added to
the embeddings. The encoder reads the source both ways; the decoder sees what it has written so far and, through
cross-attention in every block, what the encoder ended with.

The shape here is Marian's, which OPUS-MT models have: biases at every linear map, all sines before all cosines, one embedding
for source, target and output. The paper gives 65 M and 213 M for base and big with about 37,000 tokens.""",
            """在它之前，翻译模型用循环网络逐词阅读。Transformer 去掉了循环：每个词元同时看到其他所有词元，整段文本可以并行学习。
注意力由多个头并排完成，各占宽度的一部分；“多头”是并行，不是堆叠。每个头的得分要除以 √d（d 是单个头的宽度），否则 softmax
会饱和。注意力本身不分先后，所以把波长各异的正弦波加到词元嵌入上。编码器从两个方向读源文；解码器只看已经写出的部分，
并在每一层通过交叉注意力读取编码器的最终输出。

这里采用 OPUS-MT 所用的 Marian 结构：线性层都带偏置，正弦全部排在余弦之前，源文、译文和输出共用一个嵌入矩阵。论文中 base 和 big
的参数量是 65 M 和 213 M，词表约 37,000。""",
        ),
        "chatwright tokenizer pairs.jsonl -o out/pairs-tok source=en target=zh\n"
        "$ chatwright pretrain pairs.jsonl out/pairs-tok -o out/translator model=transformer-small objective=seq2seq "
        "source=en target=zh minutes=10",
    ),
    "gpt1": Member(
        ("GPT-1 (2018)", "GPT-1（2018）"),
        "gpt1",
        "Radford et al. 2018, [Improving Language Understanding by Generative Pre-Training]"
        "(https://openai.com/index/language-unsupervised/)",
        (
            """The Transformer's decoder alone, without an encoder and cross-attention, pretrained on the next token of books and then
fine-tuned: each task is written as one text, and a small head is put on top. Pretraining is on the next token and on nothing
else; masked tokens and next-sentence prediction are BERT's, not a GPT's. Positions are learned, GELU takes the
place of ReLU, and the norms still stand after the additions.""",
            """只保留 Transformer 的解码器，去掉编码器和交叉注意力：先在书籍上预训练，再微调到各个任务。每个任务都改写成一段文本，
顶上加一个小小的任务头。预训练只做一件事：预测下一个词元；遮词预测和下一句预测是 BERT 的做法，不属于任何一代 GPT。
位置编码改为可学习的，ReLU 换成 GELU，归一化仍放在相加之后。""",
        ),
        train("gpt1-5m"),
    ),
    "bert": Member(
        ("BERT (2018)", "BERT（2018）"),
        "bert-base",
        "Devlin et al. 2018, [BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding]"
        "(https://arxiv.org/abs/1810.04805)",
        (
            """An encoder: every token sees the whole text, left and right. So that it cannot read the answer off, 15 % of the tokens are
chosen and only those predicted; of the chosen, 80 % become `[MASK]`, 10 % a random token, and 10 % stay as they are. A second
objective tells whether the second sentence followed the first, which in half of the pairs it did not. Fine-tuning puts a small
head on it: the pooler's sum of a row for whole texts, every state for tokens and spans. It fills gaps in and tells things apart;
it does not write texts.

Counted with the masked-token head and the pooler. The sizes below base are those of
[Turc et al. 2019](https://arxiv.org/abs/1908.08962).""",
            """一个编码器：每个词元都看得见左右全文。为了不让它直接看到答案，随机选出 15 % 的词元，只预测它们；被选中的词元里，80 %
换成 `[MASK]`，10 % 换成随机词元，10 % 保持原样。第二个目标判断后一句是否紧接前一句，其中一半的句对是随机拼凑的。微调时在上面加一个
小任务头：整段文本的任务用池化层的输出，词元和片段的任务用每个位置的状态。它擅长填空和判别，不用来写文章。

参数量包含遮词预测头和池化层。base 以下的尺寸来自 [Turc et al. 2019](https://arxiv.org/abs/1908.08962)。""",
        ),
        train("bert-mini", " objective=masked,next_sentence"),
    ),
    "gpt2": Member(
        ("GPT-2 (2019)", "GPT-2（2019）"),
        "gpt2-xl",
        "Radford et al. 2019, [Language Models are Unsupervised Multitask Learners]"
        "(https://openai.com/index/better-language-models/)",
        (
            """The norms move in front of attention and feed-forward, and one more stands at the end: the residual stream then runs
through unchanged, and 48 layers train well. The context doubles to 1,024 tokens, and a vocabulary of bytes and their merges
can write any text. Tasks are asked for as text, without fine-tuning. The title's multitask learning is just that: tasks that
occur in the text, learned by the one loss on the next token, not a sum of losses.

The paper's counts were too small, as OpenAI said later; these are counted.""",
            """归一化移到注意力和前馈网络之前，末尾再加一个：残差流因此畅通无阻，48 层也能稳定训练。上下文翻倍到 1,024 个词元；
词表由字节及其合并构成，任何文本都能表示。任务直接用文字提出，不再微调。标题里的“多任务学习”指的正是这个：任务以文本的形式出现在
语料中，用同一个“预测下一个词元”的损失学会，而不是把多个损失加在一起。

论文给出的参数量偏小（OpenAI 后来作了更正），表中是实际数出来的。""",
        ),
        train("gpt2-5m"),
    ),
    "xlnet": Member(
        ("XLNet (2019)", "XLNet（2019）"),
        "xlnet-base",
        "Yang et al. 2019, [XLNet: Generalized Autoregressive Pretraining for Language Understanding]"
        "(https://arxiv.org/abs/1906.08237)",
        (
            """It predicts token after token, as a GPT does, but in a random order, so that over many orders every token learns from both
sides, and no `[MASK]` stands in the text. The text itself stays as it is; only who may see whom follows the order. That takes two
streams with the same weights: content states know their own token, query states know only their position, and predict. Both read
the content's keys and values. From [Transformer-XL](https://arxiv.org/abs/1901.02860) come positions as distances and the memory
of the segment before. Only the last tokens of an order are predicted, because the first ones see too little.""",
            """它像 GPT 一样逐个预测词元，但顺序是随机排列的：见过许多种排列之后，每个词元都能从两侧学习，文本里也不会出现 `[MASK]`。
文本本身的次序不变，排列只决定谁能看到谁。为此需要权重共用的两条流：内容流知道自己位置上的词元，查询流只知道位置，由它来预测；
两条流读取的都是内容流的键和值。相对距离的位置表示和对前一段的记忆来自 [Transformer-XL](https://arxiv.org/abs/1901.02860)。
每种排列只预测靠后的词元，因为靠前的词元能看到的太少。""",
        ),
        train("xlnet-5m", " objective=permutation"),
    ),
    "gpt3": Member(
        ("GPT-3 (2020)", "GPT-3（2020）"),
        "gpt3-175b",
        "Brown et al. 2020, [Language Models are Few-Shot Learners](https://arxiv.org/abs/2005.14165)",
        (
            """GPT-2's shape, a hundred times larger, and every second layer sees only a band of the nearest positions, as in the
[Sparse Transformer](https://arxiv.org/abs/1904.10509). What was new is what size brought: it takes a task up from a few examples in
the prompt. No weight changes there: no gradient is taken, and there is no MAML in it. Meta-learning by gradient is a method of its
own; the paper only likens to it what pretraining comes to.

OpenAI published neither the weights nor the width of the band, so 256 and the file format are ours. Two rows of the paper's Table
2.1 do not add up (24 heads of 128 at 1.3 B, a width of 5,140 at 13 B) and are built as 16 heads and 5,120.""",
            """沿用 GPT-2 的结构，规模大了一百倍；每隔一层只看最近的一段位置，做法来自
[Sparse Transformer](https://arxiv.org/abs/1904.10509)。真正的新意是规模带来的能力：看几个写在提示里的例子就能做新任务。这时权重
并不改变，没有任何梯度，也没有用到 MAML。基于梯度的元学习是另一种方法，论文只是用它来比喻预训练的效果。

OpenAI 既没有公布权重，也没有公布局部窗口的宽度，所以 256 这个值和文件格式是我们定的。论文表 2.1 有两行自相矛盾（1.3 B 的 24 个 128 维的头，
13 B 的宽度 5,140），这里分别取 16 个头和 5,120。""",
        ),
        train("gpt3-5m"),
    ),
    "llama": Member(
        ("Llama (2023)", "Llama（2023）"),
        "llama-3.1-8b",
        "Touvron et al. 2023, [LLaMA](https://arxiv.org/abs/2302.13971) and [Llama 2](https://arxiv.org/abs/2307.09288); "
        "Grattafiori et al. 2024, [The Llama 3 Herd of Models](https://arxiv.org/abs/2407.21783)",
        (
            """It brought together what had proved itself one by one: RMSNorm before each part, rotary positions that turn queries and keys
instead of being added to the embedding, SwiGLU, and no biases. Open weights made it the shape that most later models keep to. Llama 2
70B and all of Llama 3 share keys and values among query heads, so that the cache of a long text stays small; Llama 3.1 slows
the slow rotary angles down, for a context of 131,072 tokens.""",
            """它把各自经过检验的做法合到一起：RMSNorm 放在每个部件之前；旋转位置编码直接旋转查询和键，而不是加到嵌入上；前馈网络用
SwiGLU；不带偏置。权重开放，后来的模型大多沿用这个结构。Llama 2 70B 和整个 Llama 3 让多个查询头共用键和值，长文本的缓存因此小得多；
Llama 3.1 放慢了转得慢的那些角度，把上下文扩展到 131,072 个词元。""",
        ),
        train("llama-5m"),
    ),
    "qwen2": Member(
        ("Qwen2 and Qwen2.5 (2024)", "Qwen2 和 Qwen2.5（2024）"),
        "qwen2.5-7b",
        "Yang et al. 2024, [Qwen2](https://arxiv.org/abs/2407.10671); Qwen Team 2024, [Qwen2.5](https://arxiv.org/abs/2412.15115)",
        (
            """Llama's parts, with biases at queries, keys and values as in the first Qwen, which help with texts longer than
those trained on. Keys and values are shared in every size, and the small sizes share the embedding's matrix with the output. The
vocabulary of about 152,000 tokens is made for Chinese as much as for English. Qwen2.5 has the same shape and more training.""",
            """部件与 Llama 相同，另在查询、键、值处带偏置（从第一代 Qwen 沿用），有助于处理比训练时更长的文本。各个尺寸都共用键值头，
小尺寸的输出与嵌入共用矩阵。词表约 152,000，对中文和英文同样友好。Qwen2.5 的结构不变，训练更多。""",
        ),
        train("qwen2-5m"),
    ),
    "qwen3": Member(
        ("Qwen3 (2025), the default", "Qwen3（2025），默认结构"),
        "qwen3-0.6b",
        "Qwen Team 2025, [Qwen3 Technical Report](https://arxiv.org/abs/2505.09388)",
        (
            """Queries and keys are normalized in every head before they are turned and multiplied: scores stay in bounds, training is
steadier, and the biases of Qwen2 are gone. The width of a head no longer follows from the width of the model. It is the default here,
because everything that serves models reads its shape.""",
            """查询和键在每个头内先归一化，再旋转、相乘：得分不会失控，训练更稳，Qwen2 的偏置也不再需要。头的宽度不再由模型宽度决定。
它是这里的默认结构，因为各种推理工具都读得懂。""",
        ),
        train("qwen3-5m"),
    ),
    "qwen3-moe": Member(
        ("Qwen3-MoE (2025)", "Qwen3-MoE（2025）"),
        "qwen3-30b-a3b",
        "Qwen Team 2025, [Qwen3 Technical Report](https://arxiv.org/abs/2505.09388)",
        (
            """Qwen3 with a mixture of experts in place of the feed-forward part: a router picks a few of many small experts for each
token and weighs them by their chances. So a token costs what a small model costs, while the model knows what a large one
knows. Unlike Qwen2.5's, there is no expert that all tokens share. Experts have to be kept in even use: Qwen3 balances over the whole batch;
here it is done within each sequence, as in [DeepSeek-V3](https://arxiv.org/abs/2412.19437), so that no row depends on
another.""",
            """用混合专家代替 Qwen3 的前馈网络：路由器为每个词元从许多小专家中选出几个，并按概率加权。单个词元的计算量像小模型，容纳的知识像
大模型。与 Qwen2.5 的混合专家不同，这里没有所有词元共用的专家。专家的使用必须均衡：Qwen3 在整个批次内均衡，这里像
[DeepSeek-V3](https://arxiv.org/abs/2412.19437) 那样在每条序列内均衡，各行互不影响。""",
        ),
        train("qwen3-moe-5m"),
    ),
}

INTRODUCTION = (
    """# The family

[中文](family.zh.md)

Written by `python docs/family.py`: each picture is drawn from the model's code, by running a block's forward pass on stand-ins
for its parts, and each count is that of the model built on the meta device. `chatwright list models` prints the counts too.

Apart from the Transformer, which learns from pairs, all of them learn from text without labels: from the next token, from tokens
that were hidden, or from tokens in a random order. What makes a ChatGPT of such a model comes after: demonstrations, a reward model, and PPO, which tunes the
policy and not the reward model. See [Alignment](../README.md#alignment-what-made-chatgpt-step-by-step).

The commands train a small one for ten minutes on two cores, on a corpus and a tokenizer of your own:

```console
$ chatwright corpus books/ -o out/corpus
$ chatwright tokenizer out/corpus -o out/tok vocab_size=8192
```

In the tables, `32 / 8` heads are 32 query heads over 8 key-value heads. Sizes that no paper has are laid out for two processor
cores, and counted over 8,192 tokens; the tokenizer's vocabulary takes that place in a run. Five of them, trained on one corpus for the
same minutes: [comparison](comparison.md).
""",
    """# 模型家族

[English](family.md)

本页由 `python docs/family.py` 生成：每张图都从模型代码画出，做法是用替身换下模块里的部件，把前向计算走一遍；每个参数量都是在 meta
设备上建好模型后数出来的。`chatwright list models` 也会列出参数量。

除了 Transformer 用的双语句对，它们都从没有标注的文本中学习：预测下一个词元，预测被遮住的词元，或者按随机排列预测词元。要从这样的
模型得到 ChatGPT，还需要后面的步骤：示范、奖励模型和 PPO；PPO 调整的是策略，不是奖励模型。见
[README 的对齐一节](../README.zh.md#对齐chatgpt-的配方一步一步)。

下面的命令用你自己的语料和分词器，在两个核上训练十分钟，得到一个小模型：

```console
$ chatwright corpus books/ -o out/corpus
$ chatwright tokenizer out/corpus -o out/tok vocab_size=8192
```

表中“32 / 8”个头表示 32 个查询头共用 8 个键值头。论文里没有的尺寸是为双核处理器设计的，参数量按 8,192 的词表计算；实际训练时以分词器的
词表为准。其中五种在同一份语料上训练同样时间的结果见[对照](comparison.zh.md)。
""",
)
LABELS = {
    "command": ("Train a small one:", "训练一个小模型："),
    "name": ("`model=`", "`model=`"),
    "parameters": ("parameters", "参数量"),
    "active": ("of them, a token's", "每个词元用到"),
    "layers": ("layers", "层数"),
    "width": ("width", "宽度"),
    "heads": ("heads", "头数"),
    "context": ("context", "上下文"),
    "vocabulary": ("vocabulary", "词表"),
    "any": ("any", "不限"),
    "picture": ("{title}, drawn from its code", "{title}的结构，由代码画出"),
    "caption": ("{name}: {count:,} parameters", "{name}：{count:,} 个参数"),
}


def pages() -> Iterator[tuple[Path, str]]:
    """Every file that this script writes, with what it holds."""
    members = [(registry.lookup("model", name), member) for name, member in MEMBERS.items()]
    for index, language in enumerate(LANGUAGES):
        ending = "" if language == "en" else f".{language}"
        parts = [INTRODUCTION[index]]
        for architecture, member in members:
            name = f"{architecture.name}{ending}.svg"
            yield HERE / "family" / name, drawing(member, language, index)
            parts.append(section(architecture, member, name, index))
        yield HERE / f"family{ending}.md", "\n".join(parts)


def drawing(member: Member, language: str, index: int) -> str:
    options = model_options({"name": member.drawn})
    caption = LABELS["caption"][index].format(name=member.drawn, count=parameters(member.drawn))
    return picture(options, caption, language)


@cache
def parameters(name: str) -> int:
    return parameter_count(model_options({"name": name}))


def section(architecture: Architecture, member: Member, svg: str, index: int) -> str:
    """What the page says of one architecture."""
    alternative = LABELS["picture"][index].format(title=member.title[index])
    return f"""## {member.title[index]}

{member.paper}

{member.new[index]}

![{alternative}](family/{svg})

{table(architecture, index)}

{LABELS["command"][index]}

```console
$ {member.command}
```
"""


def table(architecture: Architecture, index: int) -> str:
    """The sizes of an architecture."""
    rows = [shape(name, index) for name in architecture.presets]
    lines = [
        " | ".join(LABELS[key][index] for key in rows[0]),
        " | ".join(["---", *["--:"] * (len(rows[0]) - 1)]),
    ]
    lines += [" | ".join(row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def shape(name: str, index: int) -> dict[str, str]:
    """A size as a row of the table."""
    options = model_options({"name": name})
    count, active = parameters(name), active_count(options)
    return {
        "name": f"`{name}`",
        "parameters": f"{count:,}",
        **({"active": f"{active:,}"} if active else {}),
        "layers": layers(options),
        "width": f"{options.width:,}",
        "heads": str(options.heads)
        if options.kv_heads == options.heads
        else f"{options.heads} / {options.kv_heads}",
        "context": LABELS["any"][index] if "context" not in vars(options) else f"{options.context:,}",
        "vocabulary": f"{options.vocab_size:,}",
    }


def layers(options: Any) -> str:
    both = getattr(options, "encoder_layers", 0), getattr(options, "decoder_layers", 0)
    return f"{both[0]} + {both[1]}" if any(both) else str(options.layers)


def main() -> None:
    for path, text in pages():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
