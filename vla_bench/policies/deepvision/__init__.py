"""DeepVision-VLA's plain action head; its vision expert is a part of the backbone (`nn.coupled`)."""
