"""Jobs on IBM Quantum: priced before they are submitted, written down before they are sent, never paid twice."""
