"""One HTML page on a release, for who did not train it: what it is, is it good, where is it weak.

`page` lays it out from `page.html`, `charts` draws, `verdict` says it in sentences, `examples` shows
sessions.
"""
