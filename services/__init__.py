"""The service: HTTP API, engines, jobs, storage and the command line around `rag` and `finetune`."""
