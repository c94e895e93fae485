"""How good models are while they run: figures over the newest examples, drift, importance of features, fairness."""
