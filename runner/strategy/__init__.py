"""How one model runs on devices: the only room that knows DataParallel, AMP and device names."""
