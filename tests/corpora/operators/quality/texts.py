"""Texts of a kind, short and written for the tests."""

ENGLISH = (
    "The river rises in the hills to the north of the town and runs for some forty miles before it meets the sea. "
    "In spring it floods the low meadows, and the farmers move their sheep to higher ground. "
    "There was once a mill at every bend, but only two of them are left, and neither grinds any corn. "
    "A small museum in the older one shows how the wheel was built and who worked there."
)
CHINESE = (
    "这条河发源于城北的山里，流了四十多里才入海。春天涨水的时候，低处的草地都被淹没了，农民就把羊赶到高处去。"
    "从前每个河湾都有一座磨坊，现在只剩下两座，而且都不再磨面了。老的那一座里有一个小小的博物馆，"
    "讲的是水车怎样造成，又有哪些人在那里干过活。孩子们喜欢在水边看鱼，老人则坐在桥上聊天。"
)
POEM = (
    "空山新雨後，天氣晚來秋。\n明月松間照，清泉石上流。\n竹喧歸浣女，蓮動下漁舟。\n隨意春芳歇，王孫自可留。"
)
LAW = (
    "第一条 为了保护和改善环境，防治污染，保障公众健康，制定本条例。\n\n"
    "第二条 本市行政区域内的单位和个人，应当遵守本条例。\n\n"
    "第三条 有下列情形之一的，由主管部门责令改正：\n\n（一）未按照规定排放污水的；\n\n（二）拒绝接受检查的。\n\n"
    "第四条 本条例自二〇二〇年五月一日起施行。"
)
PYTHON = '''import os


def sizes(folder):
    """The sizes of all files in a folder."""
    found = {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            found[name] = os.path.getsize(path)
    return found


if __name__ == "__main__":
    print(sizes("."))
'''
MARKDOWN = """# Sizes

The function `sizes` lists the files of a folder and tells how large each of them is. It takes one argument.

| argument | meaning |
|----------|---------|
| `folder` | where to look |

- Hidden files are listed too, which may be a surprise.
- Folders are left out.

```python
print(sizes("."))
```

See also [the source](sizes.py) for what it does with links.
"""
