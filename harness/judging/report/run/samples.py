"""Pictures beside what the base and the tuned model wrote about them."""

from __future__ import annotations

from harness.judging.report.html.markup import Html, details, limited, tag
from harness.judging.report.html.sections import not_run, section
from harness.judging.report.html.textdiff import difference
from harness.judging.report.run.data import Product, Run
from harness.judging.report.run.scores import decoding_name


def _text(model: str, text: Html | str) -> Html:
    return tag("div", tag("h4", model.capitalize()), tag("div", text), class_=f"text {model}")


def _side(product: Product, decoding: str) -> Html:
    """Base and tuned text of one decoding, differences marked where there are both."""
    texts = {
        m: product.texts[m, decoding] for m in ("base", "tuned") if (m, decoding) in product.texts
    }
    if len(texts) < 2:
        return tag("div", *[_text(m, limited(text)) for m, text in texts.items()], class_="pair")
    gone, added = difference(texts["base"], texts["tuned"])
    return tag("div", _text("base", gone), _text("tuned", added), class_="pair")


def _product(product: Product) -> Html:
    shown = ", ".join(f"{k} {v}" for k, v in product.attributes.items())
    if product.picture:
        alt = f"Product picture: {shown}" if shown else f"Product picture of {product.name}"
        picture = tag("img", src=product.picture, alt=limited(alt, 300))
    else:
        picture = not_run(product.missing)
    decodings = list(dict.fromkeys(d for _, d in product.texts))
    first, rest = decodings[:1], decodings[1:]
    folded = [
        tag("div", tag("h4", decoding_name(d).capitalize()), _side(product, d), class_="more")
        for d in rest
    ]
    plain = [
        tag("div", tag("h4", title), tag("div", limited(text)), class_="text")
        for title, text in (("Reference", product.reference), ("Template", product.template))
        if text
    ]
    right = tag(
        "div",
        tag("h3", limited(product.name, 200)),
        tag("p", limited(product.category, 300), class_="soft small"),
        *[_side(product, d) for d in first],
        details("Reference and template", tag("div", *plain, class_="pair")) if plain else None,
        details(f"{len(rest)} other decodings and controls", *folded) if folded else None,
    )
    caption = tag("p", "Only the picture shows: ", shown, class_="soft small") if shown else None
    return tag("article", tag("div", picture, caption), right, class_="product card")


def samples(run: Run) -> Html:
    """The first held-out products, in the data's own order."""
    title = "Samples: base and tuned"
    if not run.products:
        return section("samples", title, not_run(run.why_not("generation", "products")))
    lead = tag(
        "p",
        f"The first {len(run.products)} of {run.product_count:,} held-out products, none chosen; "
        "greedy decoding. Words that only the base model wrote are ",
        tag("del", "struck through"),
        ", words that only the tuned model wrote are ",
        tag("ins", "underlined"),
        ".",
        class_="soft",
    )
    return section("samples", title, lead, *map(_product, run.products))
