from datetime import date

import attr
import flask
from babel.dates import format_date

app = flask.Flask(__name__)


@app.route("/")
def index():
    return flask.jsonify(day=format_date(date(2024, 5, 17), locale="cs"), attrs=len(attr.__all__))


print(app.test_client().get("/").get_data(as_text=True))
