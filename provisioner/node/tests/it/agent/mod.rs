//! The agent: its decisions as tables, and whole lives of pods against the API server in process.

mod decide;
mod lives;
