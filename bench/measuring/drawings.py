"""Drawings as SVG, without anything to draw them with."""
import math

WIDTH, LEFT, RIGHT = 760, 150, 90
BAR, GAP = 22, 10
COLOURS = ("#3b6ea5", "#d08c3f", "#a54b3b", "#6b8f4e")


def bars(title, legend, rows):
    """`rows`: (name, values that lie one behind the other, what stands behind them)."""
    longest = max((sum(values) for _, values, _ in rows), default=0) or 1
    parts = [label(0, 16, title), *key(legend, 36)]
    for place, (name, values, words) in enumerate(rows):
        x, y = LEFT, 50 + place * (BAR + GAP)
        parts.append(label(0, y + 16, name))
        for value, colour in zip(values, COLOURS):
            width = value / longest * (WIDTH - LEFT - RIGHT)
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
            x += width
        parts.append(label(x + 6, y + 16, words))
    return drawing(parts, 60 + len(rows) * (BAR + GAP))


def lines(title, legend, names, series):
    """`series`: a list of values for each member of the legend, one for each of `names`; y begins at 0."""
    height, top, bottom = 260, 60, 230
    most = max(value for values in series for value in values)
    step = 10 ** math.floor(math.log10(most))
    step = next(each for each in (step / 5, step / 2, step, 2 * step) if most / each <= 8)
    places = [LEFT / 2 + (WIDTH - LEFT) * place / max(1, len(names) - 1) for place in range(len(names))]
    parts = [label(0, 16, title), *key(legend, 36)]
    for tick in range(int(most / step) + 2):
        y = bottom - tick * step / most * (bottom - top)
        if y >= top - 12:
            parts.append(f'<path d="M{LEFT / 2} {y:.1f}H{WIDTH - LEFT / 2}" stroke="#ddd"/>' + label(LEFT / 2 - 8, y + 4, f"{tick * step:g}", "end"))
    parts += [label(x, bottom + 20, name, "middle") for x, name in zip(places, names)]
    for values, colour in zip(series, COLOURS):
        points = [(x, bottom - value / most * (bottom - top)) for x, value in zip(places, values)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return drawing(parts, height)


def key(legend, y):
    parts, x = [], 0
    for name, colour in zip(legend, COLOURS):
        parts.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{colour}"/>' + label(x + 16, y, name))
        x += 36 + 8 * len(name)
    return parts


def label(x, y, words, anchor="start"):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def drawing(parts, height):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {WIDTH + 8} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><rect x="-8" width="100%" height="100%" fill="white"/>' + "\n".join(parts) + "</svg>\n"
    )
