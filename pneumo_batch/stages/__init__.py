"""The stages of a run: each module's `run(job, run)` feeds `core` through Ray and commits one table."""
