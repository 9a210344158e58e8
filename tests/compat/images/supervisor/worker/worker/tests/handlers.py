import logging


class Plain(logging.StreamHandler):
    def format(self, record):
        return f"plain {record.getMessage()}"
