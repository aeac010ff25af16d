"""Training and its preparation as processes of their own, so that nothing they do takes their parent down."""
