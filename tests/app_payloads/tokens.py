"""Hostile texts for the dashboard: a hundred names and tokens by kind, and values of a link that lead elsewhere."""

from __future__ import annotations

from tests.support import payloads
from tests.support.dashboard import app_maps

EVIL = "http://evil.example"
KINDS: dict[str, tuple[str, ...]] = {
    "html": tuple(tag.format(payloads.CALLS[k % 5]) for k, tag in enumerate(payloads.TAGS)) + payloads.BARE[:14],
    "url": ("javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "//evil.example/x.js", f"{EVIL}/x"),
    "markdown": (
        f"![x]({EVIL}/x.png)", "[click](javascript:alert(1))", f"<{EVIL}/auto>", "**bold**", "# heading", "- list",
        "> quote", "```js\nalert(1)\n```", "`code`", "| a | b |\n|---|---|", "~~gone~~", f"[x]: {EVIL} 'y'", "x\\*y",
        f"[![x]({EVIL}/x.svg)]({EVIL})", "--- \n---",
    ),
    "streamlit": (
        ":red[danger]", ":red-background[x]", ":material/skull:", ":skull:", ":streamlit:", ":small[x]", ":rainbow[x]",
        ':color[x]{foreground="red"}', ":violet-badge[:material/star: x]", "-> <- -- >=",
    ),
    "latex": (
        "$\\int x$", "$$\\href{javascript:alert(1)}{x}$$", f"$\\includegraphics{{{EVIL}/x.png}}$", "\\(x\\)",
        "$\\def\\x{\\x\\x}\\x$",
    ),
    "vega": (
        "datum.weight", '{"expr": "alert(1)"}', '{"signal": "window.hacked=1"}', "');alert(1);//", "${alert(1)}",
        "labels[datum.value]", "__proto__", "constructor", "toString", "{{datum}}",
    ),
    "formula": ('=HYPERLINK("http://evil.example")', "+1+1", "-2+3", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1+1"),
    "bidi": ("\u202egnp.exe", "\u2066x\u2069y", "\u200fabc", "\u061cx", "a\u202db\u202cc"),
    "invisible": ("a\u200bb", "\u2060x", "\ufeffx", "a\u00adb", "x" + "\u0301" * 60, "a\U000e0041\U000e0042b"),
    "control": ("\x1b[31mred", "a\x00b", "\x07x", "a\r\nb", "a\u2028b", "\uffffx", "\ue000x"),
    "long": ("a" * 5_000, "🦊" * 500, "<b>" * 1_000, "👩‍👩‍👧" * 20, "x " * 300 + "y"),
}  # fmt: skip
TOKENS = tuple(dict.fromkeys(token for kind in KINDS.values() for token in kind))
HALVES = ("\ud83d", "half \udca9", "\udcff")  # of characters: no file of maps holds them, JSON and file names may

_DEEP = "../" * 12
PATHS = (
    "../../etc/passwd", f"{_DEEP}etc/passwd", "/etc/passwd", "//etc/passwd", "/../etc/passwd", "etc/passwd", "/", ".",
    "..", "...", "./.", "../", "~", "~root", "~/.ssh/id_rsa", "$HOME/.bashrc", "${HOME}", "%HOME%",
    "..\\..\\windows\\win.ini", "C:\\boot.ini", "c:/boot.ini", "C:boot.ini", "\\\\host\\share", "//host/share",
    "\\\\?\\C:\\x", "\\\\.\\pipe\\x", "file:///etc/passwd", "file://localhost/etc/passwd", f"{EVIL}/x",
    "ftp://evil.example/x", "s3://bucket/key",
    "hf://datasets/x", "zip://x.zip", "memory://x", "github://a:b@/x", "%2e%2e%2fetc%2fpasswd", "%252e%252e%252fetc",
    "..%2f..%2fetc", "..%c0%af..%c0%afetc", "%00", "\x00", "a\x00b", "manifest.json\x00.png", "/etc/passwd\x00.jsonl",
    "....//....//etc/passwd", "..;/..;/etc", "a/../../b", "a/./b", "a//b", "．．／etc", "‥/etc", "..∕..∕etc", "․․/etc",
    "..／..／etc", "link", "link/secret.txt", "../outside/secret.txt", "../secret.txt", "secret.txt",
    "../../secret.txt", "outside", "../outside", "/proc/self/environ", "/proc/self/cmdline", "/dev/zero", "/dev/stdin",
    "/dev/tty", "/sys", "/tmp", "CON", "NUL", "aux.txt", "com1", "a:b", "a|b", "|id", ";id", "`id`", "$(id)", "-rf",
    "--help", "*", "?",
    "[a-z]", "**/*", "manifest.json", "maps-00000.safetensors", "index.parquet", "gold.jsonl", "config.json",
    "probe_curve.csv", ".git/config", ".streamlit/secrets.toml", "app/page.py", "__init__.py", "a" * 255, "a" * 10_000,
    "a/" * 5_000, "é" * 300, "\udcff".encode("utf-8", "replace").decode(),
)  # fmt: skip
NUMBERS = (
    "", " ", "-1", "-0", "+1", "1e9", "1e309", "nan", "NaN", "inf", "-inf", "Infinity", "0x10", "0b1", "1_000",
    "9" * 400, "-" + "9" * 400, "1.1.1", "٣", "３", "½", "0.5,nan", "0.0", "1.", ".5", "1,2", "99999.99999",
    "2147483648",
    "9223372036854775808", "1e-400", "0.1.2", "1.-1", "999.999", "true", "false", "[]", "{}", "[[1]]", "None", "null",
    "undefined", "NULL", "0; DROP TABLE maps", "1/0",
)  # fmt: skip
CODE = (
    *app_maps.HOSTILE, "{{7*7}}", "${7*7}", "'; DROP TABLE maps; --", "__import__('os').system('id')", "\u202eabc",
    "👩‍👩‍👧", "\ud7ff", "a\r\nSet-Cookie: x=1", "<svg onload=alert(1)>", "javascript:alert(1)", "`rm -rf /`",
    "\ufeff", "a\u200bb", ":material/skull:",
)  # fmt: skip
LINKS = tuple(dict.fromkeys((*PATHS, *NUMBERS, *CODE)))
