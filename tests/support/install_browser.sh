#!/bin/sh
# Chromium and fonts for the browser tests: installed where this user may, and said so where not.
set -u
if command -v chromium >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-noto-cjk >/dev/null && exit 0
fi
echo "Chromium could not be installed here (needs root and apt-get); the browser tests will be skipped." >&2
exit 0
