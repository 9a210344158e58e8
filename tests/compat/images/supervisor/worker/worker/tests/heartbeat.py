print("heartbeat", flush=True)
