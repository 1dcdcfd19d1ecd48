"""Collection runs and the anomalies they found."""
