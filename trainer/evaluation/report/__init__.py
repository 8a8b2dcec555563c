"""An HTML report on a release, for readers who did not train it.

`page` renders `page.html`. `verdict` and `causes` write the assessment, `baselines` and `names` name models
and items, `published` reads the release's status in the topic, `examples` chooses example sessions, and
`charts` draws the curves.
"""
