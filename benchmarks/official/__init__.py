"""The official pipeline, run from a user's own checkout of its repository, to be measured beside ours."""
