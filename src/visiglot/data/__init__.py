"""From files to batches: sources, the mixture, pictures, batches and collation.

    Source -> Mixture -> Batches (render) -> collate -> Batch

Nothing is imported here: `collate` needs torch and `parquet_source` needs pyarrow; import what you use.
"""
