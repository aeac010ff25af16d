"""The local engine: models of one's own and those tuned here, in this process, through transformers and PEFT."""
