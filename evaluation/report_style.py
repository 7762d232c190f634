"""The style of the report page: one column on a phone, light and dark, colours that the colour-blind tell apart.

Text has a contrast of 4.5 at least on its ground, and marks of 3 (WCAG 2.2, 1.4.3 and 1.4.11); tests/pages measures it
in a browser. Colours after Okabe and Ito, darker on light ground and lighter on dark.
"""

_LIGHT = """
--ground:#ffffff;--panel:#f4f6f8;--ink:#1b1f24;--quiet:#545d68;--rule:#cfd6de;--link:#0b5cad;
--float:#4b535d;--s0:#b34700;--s1:#0060a8;--s2:#00704a;--s3:#8a2f7d;--s4:#7a5a00;
"""
_DARK = """
--ground:#0e1116;--panel:#181d24;--ink:#e8edf2;--quiet:#a3adb8;--rule:#353d47;--link:#7cbcff;
--float:#b3bcc6;--s0:#ff9d57;--s1:#6fb8ff;--s2:#45d19b;--s3:#e39be0;--s4:#e6c54a;
"""

_SERIES = "".join(
    f".mark.s{i},.area.s{i}{{fill:var(--s{i})}}.area.s{i},.thread.s{i}{{stroke:var(--s{i})}}.key.s{i}{{color:var(--s{i})}}\n"
    for i in range(5)
)

STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
@media print{{:root{{{_LIGHT}}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere;-webkit-text-size-adjust:100%}}
header,main,footer,nav{{max-width:76rem;margin:0 auto;padding:0 1rem}}
header{{padding-top:1.5rem}}
.origin{{margin:0;color:var(--quiet);font-size:.875rem}}
h1{{font-size:1.6rem;line-height:1.2;margin:.25rem 0 1rem}}
h2{{font-size:1.25rem;line-height:1.25;margin:2.75rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--rule)}}
h3{{font-size:1rem;margin:1.75rem 0 .5rem}}
p{{margin:.5rem 0;max-width:46rem}}
.verdict{{font-size:1.125rem;max-width:52rem;border-left:4px solid var(--s1);padding-left:.9rem;margin:1rem 0}}
.verdict.warn{{border-left:6px double var(--s0)}}
.verdict strong{{display:block;font-size:.875rem;color:var(--quiet);font-weight:600}}
.quiet{{color:var(--quiet);font-size:.9rem}}
a{{color:var(--link)}}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{{outline:3px solid var(--link);outline-offset:2px}}
.skip{{position:absolute;left:-999rem}}
.skip:focus{{position:static}}
nav ul{{list-style:none;display:flex;flex-wrap:wrap;gap:0 1.25rem;margin:.5rem 0 0;padding:0}}
nav a{{display:inline-block;padding:.3rem 0}}
.facts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1.25rem 0}}
.facts div{{background:var(--panel);border-radius:.5rem;padding:.7rem .9rem}}
.facts dt{{color:var(--quiet);font-size:.875rem}}
.facts dd{{margin:0}}
.facts .big{{font-size:1.5rem;font-weight:650;line-height:1.3}}
.scroll{{overflow-x:auto;margin:.75rem 0;border:1px solid var(--rule);border-radius:.5rem}}
table{{border-collapse:collapse;width:100%;font-size:.9rem;overflow-wrap:normal}}
caption{{text-align:left;padding:.6rem .75rem;color:var(--quiet);font-size:.875rem}}
caption span{{position:sticky;left:.75rem;display:inline-block;max-width:min(70rem,calc(100vw - 3.75rem))}}
th,td{{text-align:left;vertical-align:top;padding:.45rem .75rem;border-top:1px solid var(--rule)}}
td{{white-space:nowrap;font-variant-numeric:tabular-nums}}
td.long{{white-space:normal;min-width:15rem}}
th{{font-weight:600}}
thead th{{vertical-align:bottom}}
tbody th,thead th:first-child{{position:sticky;left:0;background:var(--ground);
min-width:7rem;max-width:min(18rem,40vw)}}
td small,th small{{display:block;color:var(--quiet);font-weight:400;font-size:.8125rem}}
.best th{{box-shadow:inset 4px 0 0 var(--s1)}}
.best.ptq th{{box-shadow:inset 4px 0 0 var(--s0)}}
.charts{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,18.5rem),1fr));gap:1.25rem;margin:1rem 0}}
.charts.wide{{grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));align-items:start}}
figure{{margin:0}}
figcaption{{font-weight:600;font-size:.95rem;margin-bottom:.25rem}}
figcaption small{{display:block;color:var(--quiet);font-weight:400;font-size:.8125rem}}
svg{{display:block;width:100%;max-width:28rem;height:auto;overflow:visible}}
svg text{{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--ink);
paint-order:stroke;stroke:var(--ground);stroke-width:3px;stroke-linejoin:round}}
svg .strong{{font-weight:650}}
svg .tick{{fill:var(--quiet);font-size:11px}}
.grid{{stroke:var(--rule);stroke-width:1}}
.base{{stroke:var(--quiet);stroke-width:1}}
.reference{{stroke:var(--float);stroke-width:1.5;stroke-dasharray:2 3}}
.mean{{stroke:var(--ink);stroke-width:1.5}}
.tail{{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 3}}
.outline{{fill:none;stroke:var(--s0);stroke-width:1.5;stroke-dasharray:3 2}}
.whisker{{stroke-width:2.5}}
.thread{{fill:none;stroke-width:1.25}}
.whisker.float{{stroke:var(--float)}}.mark.float,.bar.float{{fill:var(--float)}}
.whisker.ptq{{stroke:var(--s0)}}.mark.ptq,.bar.ptq{{fill:var(--s0)}}
.whisker.qat{{stroke:var(--s1)}}.mark.qat,.bar.qat{{fill:var(--s1)}}
{_SERIES}
.area{{fill-opacity:.55;stroke-width:1}}
.mark{{stroke:var(--ground);stroke-width:1}}
.legend{{list-style:none;padding:0;margin:.75rem 0;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem}}
.places{{list-style:none;margin:0;padding:0;display:grid;gap:.75rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr))}}
.places li{{background:var(--panel);border-radius:.5rem;padding:.7rem .9rem}}
.places p{{margin:0 0 .4rem}}
.places dl{{margin:0;display:grid;grid-template-columns:fit-content(35%) 1fr;gap:.1rem .75rem;font-size:.9rem}}
.places dt{{color:var(--quiet)}}
.places dd{{margin:0}}
q{{quotes:none;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.875rem;
white-space:break-spaces;
-webkit-box-decoration-break:clone;box-decoration-break:clone;background:var(--ground);
border:1px solid var(--rule);border-radius:.25rem;padding:0 .2rem}}
.places p q{{display:block;border:0;padding:.3rem .5rem}}
details{{margin:1rem 0}}
summary{{cursor:pointer;padding:.4rem 0;color:var(--link)}}
footer{{margin-top:3rem;padding-bottom:2rem;color:var(--quiet);font-size:.875rem}}
"""
