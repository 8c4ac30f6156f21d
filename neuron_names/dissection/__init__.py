"""Network Dissection: which concept each unit of a feature map detects, exact and streaming."""
