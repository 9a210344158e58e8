define(`x', `expanded')x
