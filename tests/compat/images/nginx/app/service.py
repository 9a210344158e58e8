from docutils.core import publish_string

TEXT = ".. include:: <isonum.txt>\n\n|copy| *here*\n\n.. math:: x^2\n"


def application(environ, start_response):
    page = publish_string(TEXT, writer_name="html5", settings_overrides={"report_level": 2})
    start_response("200 OK", [("Content-Type", "text/html")])
    return [page]
