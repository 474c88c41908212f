"""Translation engines: one file each, all in the table `visiglot.translate.engine.ENGINES`."""
