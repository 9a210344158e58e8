#!/bin/sh
# nginx in the background, then what the command says.
set -e
nginx -c /etc/nginx/nginx.conf
if [ "$1" = check ]; then
    shift
    gunicorn --bind 127.0.0.1:8000 --log-level error service:application &
    exec python ask.py "$@"
fi
exec "$@"
