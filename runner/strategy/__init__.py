"""How one model runs on devices: the only place that knows DataParallel, AMP and device names."""
