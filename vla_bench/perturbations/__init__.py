"""What disturbs an episode: noise, pushes, other cameras, lights and words, each at three levels."""
