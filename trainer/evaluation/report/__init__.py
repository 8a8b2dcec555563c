"""One HTML page on a release, for people who did not train it.

`page` fills in `page.html`; `verdict` and `causes` write the judgement, `baselines` and `names` give
models and items their names, `published` reads the place among the releases, `examples` shows sessions,
`charts` draws.
"""
