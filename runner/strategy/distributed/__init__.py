"""Several processes of one run, over torch.distributed: the group that agrees, DDP, and FSDP."""
